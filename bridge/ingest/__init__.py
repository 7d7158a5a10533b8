"""From a driver's raw rows to samples that may be stored."""
