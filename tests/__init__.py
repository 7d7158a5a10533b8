"""A package, not a namespace: tsfel installs a package `tests` of its own, which would win over a namespace."""
