"""Write the JSON schema of a run or a study, with which editors check and complete TOML files."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from scalelab.core.parts import Part, list_kind
from scalelab.core.run_sections import (
    DataSpec,
    ItemTableSpec,
    LossSpec,
    ModelSpec,
    NegativesSpec,
    PartSpec,
)
from scalelab.core.spec import WORKED_OUT, RunSpec
from scalelab.core.study import StudySpec

__all__ = ["run_schema", "study_schema"]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_Schema = dict[str, Any]


def run_schema() -> _Schema:
    """Of a run profile: every section, and for each part the options that it takes."""
    schema = RunSpec.model_json_schema()
    definitions = schema["$defs"]
    for section in (DataSpec, NegativesSpec, ModelSpec, ItemTableSpec, LossSpec):
        _add_parts(definitions[section.__name__], section)
    # One source of negatives may be written without a list.
    sources = schema["properties"]["negatives"]
    schema["properties"]["negatives"] = {
        "anyOf": [{"$ref": "#/$defs/NegativesSpec"}, {"type": "array", **sources}],
        "description": sources.get("description", ""),
    }
    return {"$schema": _DRAFT, **schema, "title": "scalelab run profile"}


def study_schema() -> _Schema:
    """Of a study: its own keys, and the keys of a run under `set`, `axes` and `cells`."""
    run, schema = run_schema(), StudySpec.model_json_schema()
    keys = _dotted(run)
    name, base = schema["properties"]["name"], schema["properties"]["base"]
    own = {
        "name": name,
        "base": base,
        "set": {"type": "object", "properties": keys},
        "axes": {
            "type": "object",
            "properties": {key: _axis(value) for key, value in keys.items()},
        },
        "cells": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {key: _one_or_list(value) for key, value in keys.items()},
            },
        },
    }
    for key, described in own.items():
        described.setdefault("description", schema["properties"][key].get("description", ""))
    return {
        "$schema": _DRAFT,
        **schema,
        "title": "scalelab study",
        "properties": {**schema["properties"], **own},
        "$defs": {**run["$defs"], **schema.get("$defs", {})},
        # The file or its folder names a study that does not name itself.
        "required": ["base"],
    }


def _one_or_list(value: _Schema) -> _Schema:
    return {"anyOf": [value, {"type": "array", "items": value, "minItems": 1}]}


def _axis(value: _Schema) -> _Schema:
    span = {
        "type": "object",
        "description": "A range, where the study has a [search].",
        "properties": {name: {"type": "number"} for name in ("min", "max")}
        | {"log": {"type": "boolean"}},
        "required": ["min", "max"],
        "additionalProperties": False,
    }
    return {"anyOf": [{"type": "array", "items": value}, span]}


def _add_parts(definition: _Schema, section: type[PartSpec]) -> None:
    parts = list_kind(section.kind)
    own = list(section.model_fields)
    name = section.name_field
    definition["properties"][name]["examples"] = [part.name for part in parts]
    definition["allOf"] = [
        {
            "if": {"properties": {name: {"const": part.name}}, "required": [name]},
            "then": {
                "properties": _options(part),
                "propertyNames": {"enum": [*own, *(option.name for option in part.options)]},
            },
        }
        for part in parts
    ]


def _options(part: Part) -> dict[str, _Schema]:
    return {
        option.name: TypeAdapter(option.annotation).json_schema()
        | {"description": f"{option.meaning} (default: {option.default or 'none'})"}
        for option in part.options
    }


def _dotted(run: Mapping[str, Any]) -> dict[str, _Schema]:
    """Every key of a run as a study writes it, such as "batch.size"."""
    found: dict[str, _Schema] = {}
    for section in RunSpec.model_fields.keys() - WORKED_OUT:
        definition = _definition(run, section)
        found |= _of_definition(run, section, definition)
        for rule in definition.get("allOf", ()):
            for key, value in rule["then"]["properties"].items():
                # Parts may differ in what they allow under one name.
                known = found.setdefault(f"{section}.{key}", value)
                if known != value:
                    found[f"{section}.{key}"] = {"description": known["description"]}
    return found


def _of_definition(run: Mapping[str, Any], prefix: str, definition: _Schema) -> dict[str, _Schema]:
    """The keys of a section, and of the sections in it."""
    found: dict[str, _Schema] = {}
    for key, value in definition["properties"].items():
        if "$ref" in value:
            inner = run["$defs"][value["$ref"].rpartition("/")[2]]
            found |= _of_definition(run, f"{prefix}.{key}", inner)
        else:
            found[f"{prefix}.{key}"] = value
    return found


def _definition(run: Mapping[str, Any], section: str) -> _Schema:
    names = {"negatives": "NegativesSpec", "table": "ItemTableSpec"}
    return run["$defs"][names.get(section, f"{section.capitalize()}Spec")]
