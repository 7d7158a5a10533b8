"""Stored samples -> feature rows -> Feast: windows, kernels, jobs, offline and online stores."""

import typeguard

# Feast has typeguard recompile its classes at every import, four of the six seconds it takes (docs/decisions/0006).
# No other package of ours imports Feast, so this always comes first.
vars(typeguard)["typechecked"] = lambda target, **_: target
