"""The lake: the embedded store, a directory with Delta tables."""
