"""The edge database: spool, coverage and quarantine."""
