"""Stored samples -> feature rows -> Feast: windows, kernels, jobs, offline and online stores."""

import typeguard

# Feast has typeguard recompile its classes at every import, four of the six seconds it takes (docs/decisions/0006).
vars(typeguard)["typechecked"] = lambda target, **_: target
