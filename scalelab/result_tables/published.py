"""Read a table of published results, and find the figures in it that contradict each other."""

import csv
import math
import tomllib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from scalelab.core.errors import DataError
from scalelab.core.figures import metric_name
from scalelab.core.presets import shipped_published
from scalelab.store.ledger import Ledger

__all__ = ["contradictions", "published_of", "read_published"]

_BESIDE = ("source", "protocol", "setting")
_COLUMNS = ("dataset", "model", "loss", "metric", "value")


def published_of(ledger: Ledger) -> Path:
    """The file that the newest study of the ledger names as `published`, else the one that
    travels with scalelab."""
    rows = ledger.query("SELECT spec_toml FROM studies ORDER BY created_at DESC").to_pylist()
    for row in rows:
        try:
            named = tomllib.loads(row["spec_toml"]).get("published")
        except tomllib.TOMLDecodeError:
            continue
        if named:
            return Path(str(named))
    return shipped_published()


def read_published(file: Path) -> list[dict[str, str]]:
    """The rows of the table. Raises DataError."""
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            lines = [dict(line) for line in reader]
            columns = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = "give a CSV with dataset, model, loss, metric, value"
        raise DataError(f"cannot read {file}: {reason}", hint) from error
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        hint = f"it needs {', '.join(_COLUMNS)}; there are: {', '.join(columns) or 'none'}"
        raise DataError(f"{file} has no column {missing[0]!r}", hint)
    for number, line in enumerate(lines, start=2):
        try:
            float(line["value"])
        except (TypeError, ValueError) as error:
            message = f"{file}, row {number}: value {line['value']!r} is not a number"
            raise DataError(message, "fix that row") from error
    return lines


def contradictions(lines: Iterable[dict[str, str]]) -> Iterator[str]:
    """Figures of NDCG that the hit rates beside them do not allow, one sentence each.

    With one target a list, a target at the places a + 1 to b counts once in HR@b - HR@a and by
    1 / log2(place + 1) in NDCG@b - NDCG@a, which the first and the last of these places bound.
    """
    groups: dict[tuple[str | None, ...], dict[str, str]] = {}
    for line in lines:
        key = tuple(line.get(name) for name in ("dataset", "model", "loss", *_BESIDE))
        groups.setdefault(key, {})[line["metric"].strip().lower()] = line["value"]
    for (dataset, model, loss, *_), texts in groups.items():
        figures = {name: float(text) for name, text in texts.items()}
        ks = sorted(int(name[3:]) for name in figures if name.startswith("hr@"))
        for before, k in pairwise(k for k in ks if f"ndcg@{k}" in figures):
            names = (f"hr@{before}", f"hr@{k}", f"ndcg@{before}", f"ndcg@{k}")
            hits_before, hits, ndcg_before, ndcg = (figures[name] for name in names)
            low, high = (
                ndcg_before + (hits - hits_before) / math.log2(place + 1)
                for place in (k, before + 1)
            )
            # As much as four figures may be off that are rounded to so many digits (a table may
            # have lost zeros at the end: then some that are wrong pass).
            off = 2 * 10.0 ** -min(len(texts[name].partition(".")[2]) for name in names)
            if not low - off <= ndcg <= high + off:
                yield (
                    f"{dataset}, {model}, {loss}: {metric_name(names[3])} {ndcg:.4f} cannot be "
                    f"right beside {metric_name(names[2])} and the hit rates, which allow "
                    f"{low:.4f} to {high:.4f}"
                )
