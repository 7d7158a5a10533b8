"""The only place that knows Feast."""
