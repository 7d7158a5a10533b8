"""From the spool to the store."""
