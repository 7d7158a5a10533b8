"""Where samples are kept: the store protocols and their implementations."""
