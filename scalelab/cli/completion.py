"""Complete names of parts, presets, devices and keys in the shell."""

from typing import TYPE_CHECKING

from scalelab import api
from scalelab.core.errors import ScalelabError

if TYPE_CHECKING:
    from scalelab.core.keys import Key

__all__ = [
    "complete_chart",
    "complete_device_profile",
    "complete_key",
    "complete_kind",
    "complete_run",
    "complete_run_or_study",
    "complete_setting",
    "complete_study",
]

_Pairs = list[tuple[str, str]]


def _keys(prefix: str) -> "tuple[Key, ...]":
    # Imported here: no command but completion needs it, and all would wait for it.
    from scalelab.core.keys import list_keys

    return list_keys(prefix)


def complete_key(incomplete: str) -> _Pairs:
    """Keys of a run and a study."""
    return [(key.key, key.meaning) for key in _keys(incomplete)]


def complete_setting(incomplete: str) -> _Pairs:
    """`KEY=` for `--set`, and the allowed words after it."""
    key, equals, value = incomplete.partition("=")
    if not equals:
        return [(f"{k.key}=", k.meaning) for k in _keys(key) if k.place == "run"]
    words: dict[str, str] = {}
    for found in _keys(key):
        if found.key == key and found.place == "run":
            words |= dict.fromkeys(found.words, found.meaning)
    section, _, name = key.partition(".")
    kinds = {"loss": "losses", "model": "models", "table": "tables", "negatives": "negatives"}
    if name == "name" and section in kinds:
        words |= dict(_named(kinds[section], ""))
    if key in ("data.reader", "batch.packer"):
        words |= dict(_named({"reader": "readers", "packer": "packers"}[name], ""))
    return [(f"{key}={word}", text) for word, text in words.items() if word.startswith(value)]


def complete_study(incomplete: str) -> _Pairs:
    """Presets of studies."""
    return _named("studies", incomplete)


def complete_run(incomplete: str) -> _Pairs:
    """Presets of runs."""
    return _named("profiles", incomplete)


def complete_run_or_study(incomplete: str) -> _Pairs:
    """Presets of both."""
    return complete_run(incomplete) + complete_study(incomplete)


def complete_device_profile(incomplete: str) -> _Pairs:
    """Device profiles."""
    return _named("devices", incomplete)


def complete_chart(incomplete: str) -> _Pairs:
    """Charts."""
    return _named("charts", incomplete)


def complete_kind(incomplete: str) -> _Pairs:
    """Kinds of parts and presets."""
    return [(kind, "") for kind in api.list_parts() if kind.startswith(incomplete)]


def _named(kind: str, incomplete: str) -> _Pairs:
    try:
        parts = api.list_parts(kind)[kind]
    except ScalelabError:  # a broken part of somebody's package must not break the shell
        return []
    return [(part.name, part.summary) for part in parts if part.name.startswith(incomplete)]
