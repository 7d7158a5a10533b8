"""One script a group of figures; each prints a JSON line a figure, with the ratio it measures."""

from importlib import import_module

import_module("features")  # before Feast, whichever script imports it: docs/decisions/0006
