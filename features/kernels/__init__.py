"""Pure numbers: one window or a block of windows in, features out. No I/O, no clock."""
