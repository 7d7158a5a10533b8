"""Live streaming, backfills and replay, as the commands run them."""
