"""A plant's features in Feast's registry."""
