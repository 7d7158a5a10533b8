"""Windows over samples, and the windows that a change affects."""
