"""From samples to feature rows, and the tables they are kept in."""
