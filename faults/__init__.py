"""Faults of a backfill, in combinations: `python -m faults` runs them all, the tests a drawn tenth."""
