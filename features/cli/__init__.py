"""The commands about features and training sets."""
