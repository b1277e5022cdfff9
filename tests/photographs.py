"""A small folder of pictures and a ResNet that nobody trained: enough for all but accuracy on real photographs."""

import json

import numpy as np
from PIL import Image

import minicnn
from minicnn import models
from minicnn.cli import main

COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (210, 50, 40)}


def write_photos(folder, each=8, seed=0, names=tuple(COLOURS)):
    """folder/CLASS/0.png …: noise around the colour of the class, of different sizes."""
    rng = np.random.default_rng(seed)
    for name, colour in zip(names, COLOURS.values()):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            height, width = rng.integers(36, 60, 2)
            pixels = np.clip(rng.normal(colour, 40, (height, width, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def write_weights(path, name="resnet18", num_classes=1000, seed=0):
    minicnn.manual_seed(seed)
    minicnn.save(getattr(models, name)(num_classes=num_classes).state_dict(), path)
    return path


def json_of(capsys, *argv):
    """Run a command that must succeed; its JSON."""
    capsys.readouterr()
    assert main([*map(str, argv), "--json"]) == 0
    return json.loads(capsys.readouterr().out)
