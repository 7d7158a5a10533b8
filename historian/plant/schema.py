"""The JSON Schema of `plant.toml`, for editors that complete and check while one types."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from historian.plant.drivers import find_driver
from historian.plant.model import PlantFile


def plant_schema() -> dict[str, Any]:
    """The schema of the models, with the keys of every installed driver in place of the open `Connection`."""
    schema = PlantFile.model_json_schema()
    definitions = schema["$defs"]
    connection = definitions.pop("Connection")
    variants: dict[str, list[dict[str, str]]] = {"sources": [], "archives": []}
    for name in sorted(entry_points(group="penstock.drivers").names):
        driver = find_driver(name)
        options = driver.options.model_json_schema()
        definitions |= options.pop("$defs", {})
        definitions[f"{name}_driver"] = {
            **options,
            "properties": {**connection["properties"], **options.get("properties", {}), "driver": {"const": name}},
            "required": sorted({*connection["required"], *options.get("required", [])}),
            "additionalProperties": False,
        }
        variants["sources" if driver.source else "archives"].append({"$ref": f"#/$defs/{name}_driver"})
    for section, drivers in variants.items():
        schema["properties"][section]["additionalProperties"] = {"oneOf": drivers}
    return schema
