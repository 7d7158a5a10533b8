"""Feast on Polars: registry, offline store and online stores."""
