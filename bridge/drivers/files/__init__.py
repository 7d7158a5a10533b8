"""The `files` driver: exports of historians, loggers and measurement systems."""
