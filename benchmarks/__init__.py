"""One script for each group of figures; it prints a JSON line for each figure, with the ratio it measures."""

from importlib import import_module

import_module("features")  # before Feast, whichever script imports it: docs/decisions/0006
