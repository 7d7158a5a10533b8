"""The drivers: one module a kind of plant system, each with its `driver`; none knows the rest of the bridge."""
