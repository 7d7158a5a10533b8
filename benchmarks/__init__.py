"""One script a group of figures; each prints a JSON line a figure, with the ratio it measures."""
