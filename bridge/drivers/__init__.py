"""The drivers: a module for each kind of plant system, with its `driver`; none imports the rest of the bridge."""
