"""Feast's online stores, materialisation and what was served."""
