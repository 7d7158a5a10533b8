"""Feature tables, and the label and event tables people bring."""
