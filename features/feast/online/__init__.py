"""Feast's online stores, materialisation, and the log of served values."""
