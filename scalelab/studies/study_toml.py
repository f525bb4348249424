"""Plain tables in, TOML that reads back as the same tables out."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["toml_of"]


def toml_of(tables: Mapping[str, Any]) -> str:
    """Keys with plain values first, then tables, then lists of tables."""
    return "\n".join(_lines(tables, ())) + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    found = [f"{_key(k)} = {_value(v)}" for k, v in table.items() if not _is_table(v)]
    for key, value in table.items():
        name = ".".join(_key(word) for word in (*path, key))
        if isinstance(value, Mapping):
            found += ["", f"[{name}]", *_lines(value, (*path, key))]
        elif _is_table(value):
            for item in value:
                found += ["", f"[[{name}]]", *_lines(item, (*path, key))]
    return found


def _is_table(value: Any) -> bool:
    if isinstance(value, Mapping):
        return True
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return is_list and len(value) > 0 and all(isinstance(item, Mapping) for item in value)


def _key(word: str) -> str:
    plain = word.replace("_", "").replace("-", "")
    return word if plain.isascii() and plain.isalnum() else json.dumps(word)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    # Strings, booleans, integers and finite floats read the same in JSON and TOML.
    return json.dumps(value)
