"""The connection to a Ray cluster."""
