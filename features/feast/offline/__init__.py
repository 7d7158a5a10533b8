"""Feast's offline store over Polars: what was known at each label's time."""
