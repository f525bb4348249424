"""List the parts of a run whose source is not covered by RESULTS_VERSION.

`recorded.json` holds the digest of every part of the tree at the present RESULTS_VERSION. A part
that has it adds nothing to the fingerprint of a run. Any other part, of a package, of a file, or
one of the tree that somebody has edited, adds the digest of its own source.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from scalelab.core import sources
from scalelab.core.errors import SpecError
from scalelab.core.locating import locate, short

__all__ = ["RECORD", "check_unchanged", "origin_of", "sources_of"]

RECORD = Path(__file__).with_name("recorded.json")


def sources_of(parts: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Digests by the key of the part, only where they are not the recorded ones."""
    found: dict[str, str] = {}
    for key, (kind, name) in parts.items():
        place = locate(kind, name)
        digest = sources.digest(place)
        if not place.in_tree or digest != _recorded().get(f"{kind}.{name}"):
            found[key] = digest
    return found


def check_unchanged(
    parts: Mapping[str, tuple[str, str]], planned: Mapping[str, str], now: Mapping[str, str]
) -> None:
    """Raises SpecError where a part, or the item attributes, are not what they were when planned.

    `planned` and `now` are digests by key; one that no part has is that of the attributes.
    """
    for key in sorted(now.keys() | planned.keys()):
        if now.get(key) != planned.get(key):
            part = parts.get(key)
            what = f"the source of {locate(*part)}" if part else "the file of item attributes"
            raise SpecError(
                f"{what} is not what it was when the run was planned",
                "type the command again; on a cluster, install the same version on all nodes",
            )


def origin_of(parts: Mapping[str, tuple[str, str]]) -> dict[str, dict[str, str]]:
    """Where each part is from, by its key: package and version, or file; and its digest."""
    found: dict[str, dict[str, str]] = {}
    for key, (kind, name) in parts.items():
        facts = {"name": short(name)}
        try:
            place = locate(kind, name)
            facts |= {**vars(place.origin), "digest": sources.digest(place)}
        except SpecError as error:  # the row of a run is written though its part is gone
            facts["missing"] = error.message
        found[key] = {word: value for word, value in facts.items() if value}
    return found


@cache
def _recorded() -> dict[str, str]:
    return json.loads(RECORD.read_text(encoding="utf-8"))["parts"]
