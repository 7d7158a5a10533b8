"""Archives behind REST interfaces: a client that only reads, paging by time, and the archive over both."""
