"""Record the digests of all sources that decide numbers: `python tests/record_sources.py`.

Run it after RESULTS_VERSION was raised, or where a change of the sources cannot change any number
(a rename, a move, an error message).
"""

import json
from pathlib import Path
from typing import Any

import scalelab
from scalelab.core import sources
from scalelab.core.identity import RESULTS_VERSION
from scalelab.core.locating import KINDS, available, locate
from scalelab.core.part_sources import RECORD

PACKAGE = Path(scalelab.__file__).parent
# Kinds whose parts decide the numbers of a run.
NUMERIC = ("models", "tables", "losses", "packers", "negatives", "readers")
# What all runs share and what decides their numbers: data, batches, trainer, evaluation, account.
SHARED = ("datasets", "ranking", "synthetic", "batches", "losses", "models", "train", "measure")


def current() -> dict[str, Any]:
    """What the record should say of the sources as they are."""
    parts = {
        f"{kind}.{name}": sources.digest(place)
        for kind in NUMERIC
        for name in available(kind)
        if (place := locate(kind, name)).in_tree
    }
    modules = {
        file.relative_to(PACKAGE).as_posix(): sources.module_digest(file)
        for room in SHARED
        for file in sorted((PACKAGE / room).rglob("*.py"))
        if "probes" not in file.parts
    }
    return {"results_version": RESULTS_VERSION, "parts": parts, "modules": modules}


if __name__ == "__main__":
    assert set(NUMERIC) < set(KINDS)
    RECORD.write_text(json.dumps(current(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
