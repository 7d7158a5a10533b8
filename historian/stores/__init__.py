"""Stores of samples: the protocols and their implementations."""
