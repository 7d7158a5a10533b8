"""The command line of the feature store."""
