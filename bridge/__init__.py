"""Moves samples: PLCs, brokers and legacy historians -> spool -> store. The only async package."""
