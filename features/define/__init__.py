"""What a feature is, and every feature Penstock computes."""
