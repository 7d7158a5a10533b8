"""The embedded store: a directory with Delta tables."""
