"""python -m minicnn.cli"""

import sys

from . import main

sys.exit(main())
