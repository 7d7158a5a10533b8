"""The edge's database: spool, coverage and quarantine."""
