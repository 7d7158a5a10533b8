"""`penstock check` and `penstock schema`: whether the plant file is right, and which keys it may have."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from historian.cli.console import JsonOption, PlantOption, answer
from historian.plant.load import load_plant
from historian.plant.schema import plant_schema


def check(plant: PlantOption = Path("plant.toml"), *, as_json: JsonOption = False) -> None:
    """Checks the plant file and its tag lists; reports every problem with file and row. Opens no connection."""
    checked = load_plant(plant, every_variable=True)
    kinds = Counter(tag.kind for tag in checked.tags.values())
    record = {
        "site": checked.site,
        "assets": len(checked.assets),
        "tags": len(checked.tags),
        "kinds": dict(kinds),
        "sources": sorted(checked.sources),
        "archives": sorted(checked.archives),
        "views": sorted(checked.views),
    }
    tags = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    text = f"{checked.site}: {len(checked.assets)} assets, {len(checked.tags)} tags ({tags}), no problems"
    answer(record, text, as_json=as_json)


def schema() -> None:
    """Prints the JSON Schema of plant.toml, drivers included, for editors."""
    print(json.dumps(plant_schema(), indent=2))
