"""Programs for tests that start without importing Feast again: a warm process forks one for each command."""
