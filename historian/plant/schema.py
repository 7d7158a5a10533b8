"""The JSON Schema of `plant.toml`, with which editors complete and check the file."""

from __future__ import annotations

from typing import Any

from historian.plant.connections import Section
from historian.plant.drivers import driver_names, find_driver
from historian.plant.model import PlantFile


def plant_schema() -> dict[str, Any]:
    """Build the schema from the models, with the keys of every installed driver instead of the open `Connection`."""
    schema = PlantFile.model_json_schema()
    definitions = schema["$defs"]
    connection = definitions.pop("Connection")
    variants: dict[Section, list[dict[str, str]]] = {"sources": [], "archives": []}
    for name in driver_names():
        driver = find_driver(name)
        options = driver.options.model_json_schema()
        definitions |= options.pop("$defs", {})
        definitions[f"{name}_driver"] = _driver_schema(name, options, connection)
        for section, listed in variants.items():
            if driver.offers(section):
                listed.append({"$ref": f"#/$defs/{name}_driver"})
    for section, drivers in variants.items():
        schema["properties"][section]["additionalProperties"] = {"oneOf": drivers}
    return schema


def _driver_schema(name: str, options: dict[str, Any], connection: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a connection with a driver's own keys."""
    return {
        **options,
        "properties": {**connection["properties"], **options.get("properties", {}), "driver": {"const": name}},
        "required": sorted({*connection["required"], *options.get("required", [])}),
        "additionalProperties": False,
    }
