"""`penstock serve` and `penstock demo`."""
