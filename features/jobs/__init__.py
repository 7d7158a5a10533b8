"""Which windows are due, computed wherever there is room, each exactly once."""
