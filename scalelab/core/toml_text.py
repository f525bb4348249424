"""Write a value as TOML, so that a hint can be typed as it is."""

import json
from typing import Any, cast

__all__ = ["key_text", "toml_text"]


def toml_text(value: Any) -> str:
    """`value` on one line; keys that hold a dot are quoted, as a study needs them."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_text, cast('list[Any]', value)))}]"
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        inner = ", ".join(f"{key_text(key)} = {toml_text(each)}" for key, each in pairs)
        return f"{{{inner}}}"
    if isinstance(value, float):
        return str(value)
    if isinstance(value, str | int):  # also true and false, which are numbers in Python
        return json.dumps(value, ensure_ascii=False)
    return str(value)  # a date


def key_text(key: str) -> str:
    """A key of a TOML table, in quotes where it needs them."""
    bare = key.replace("_", "").replace("-", "")
    return key if bare.isascii() and bare.isalnum() else json.dumps(key, ensure_ascii=False)
