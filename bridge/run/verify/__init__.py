"""Proof that the store has what an archive has, by tag and day, which others can check without Penstock."""
