"""Windows over samples, and which of them a change touches."""
