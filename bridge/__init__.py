"""Moves samples from PLCs, brokers and legacy historians through the spool to the store. The only async package."""
