"""From raw rows of a driver to validated samples in the spool."""
