"""The HTTP API of a plant."""
