"""`penstock check` and `penstock schema`: checks of the plant file, and its JSON Schema."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from historian.cli.console import JsonOption, PlantOption, answer
from historian.plant.schema import plant_schema
from historian.stores.plant_check import check_plant


def check(plant: PlantOption = Path("plant.toml"), *, as_json: JsonOption = False) -> None:
    """Check the plant file and its tag lists; report every problem with file and row. Opens no connection."""
    found = check_plant(plant)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.kinds.items()))
    text = f"{found.site}: {found.assets} assets, {found.tags} tags ({kinds}), no problems"
    answer(asdict(found), "\n".join([text, *found.notes]), as_json=as_json)


def schema() -> None:
    """Print the JSON Schema of plant.toml, drivers included, for editors."""
    print(json.dumps(plant_schema(), indent=2))
