"""A page that shows every number of one forward, backward and step of a network on one image."""

from .page import Explanation, explain
