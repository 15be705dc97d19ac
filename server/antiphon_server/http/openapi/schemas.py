"""The schemas of all wire types, by name, each with a description and an example of every field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from antiphon_server.http.openapi.bodies import SCHEMAS
from antiphon_server.http.openapi.examples import add_field_example
from antiphon_server.http.openapi.yaml_files import load_yaml

Schema = dict[str, Any]


def schemas_of(requests: Iterable[type[BaseModel]], answers: Iterable[type[BaseModel]]) -> dict[str, Schema]:
    """`requests` as they are read, `answers` as they are written."""
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [(one, "validation") for one in requests]
    modes += [(one, "serialization") for one in answers]
    _, found = models_json_schema(modes, ref_template=SCHEMAS + "{model}")
    schemas: dict[str, Schema] = found["$defs"]
    for name, schema in schemas.items():
        describe(name, schema)
    return schemas


def describe(name: str, schema: Schema) -> None:
    """Adds the descriptions that are missing, and the examples of the fields."""
    base = name.partition("-")[0]
    if about := descriptions()["schemas"].get(base):
        schema.setdefault("description", about)
    own, all_ = descriptions().get(base, {}), descriptions()["*"]
    for field, inner in schema.get("properties", {}).items():
        text = own.get(field) or inner.get("description") or all_.get(field)
        if text:
            inner["description"] = text
        add_field_example(base, field, inner)


def descriptions() -> Mapping[str, Mapping[str, str]]:
    """The texts of `fields.yaml`, by schema and field."""
    return load_yaml("fields.yaml")
