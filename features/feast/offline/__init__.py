"""Feast's offline store on Polars: the features known at each label's time."""
