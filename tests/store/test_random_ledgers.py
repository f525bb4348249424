"""The views of random ledgers against plain Python over the rows of its tables.

Several studies, data sets, devices, threads, versions and metrics; attempts, seeds, every outcome,
ties and figures that could not be read.
"""

import hashlib
import json
import random
import statistics
from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from scalelab.core.identity import COMPARABLE, COMPARABLE_IN_TIME
from scalelab.core.records import LOST, Memory, Metric, Outcome, Record

KEY = ("configuration", *COMPARABLE_IN_TIME)
STUDIES = ("study-0", "study-1", None)
VARIED: dict[str, list[Any]] = {
    "data": ["one", "two"],
    "protocol": ["a", "b"],
    "metric": ["ndcg@10", "hr@20"],
    "version": [3, None],
    "cuda": [False, True],
    "device": ["", " B"],
    "threads": [2, 4],
}


def records_of(fake: Any, rng: random.Random) -> list[Record]:
    """Up to forty runs; what few of them vary has several seeds in one configuration."""
    several = {
        name: values if rng.random() < 0.3 else values[:1] for name, values in VARIED.items()
    }
    attempts: dict[str, int] = defaultdict(int)
    found = []
    for index in range(rng.randint(10, 40)):
        drawn = {name: rng.choice(values) for name, values in several.items()}
        found.append(one_record(fake, rng, index, drawn=drawn, attempts=attempts))
    return found


def one_record(
    fake: Any, rng: random.Random, index: int, *, drawn: dict[str, Any], attempts: dict[str, int]
) -> Record:
    outcome = rng.choice([Outcome.DONE] * 12 + list(Outcome))
    is_done = outcome is Outcome.DONE
    made = fake.record(
        index=index,
        loss=rng.choice(["bce", "rece"]),
        batch_size=rng.choice([32, 64]),
        seed=rng.choice([0, 1, 2]),
        outcome=outcome,
        cuda=drawn["cuda"],
        dataset=drawn["data"],
        study_id=rng.choice(STUDIES),
    )
    text = json.dumps(json.loads(made.run.spec) | {"evaluate": {"metric": drawn["metric"]}})
    decisive = (text, drawn["data"], drawn["version"])
    fingerprint = hashlib.md5(repr(decisive).encode()).hexdigest()
    attempts[fingerprint] += 1
    run = replace(
        made.run,
        spec=text,
        fingerprint=fingerprint,
        attempt=attempts[fingerprint],
        data_fingerprint=drawn["data"] if is_done or rng.random() < 0.6 else None,
        protocol=drawn["protocol"],
        results_version=drawn["version"],
        started_at=datetime(2026, 1, 1) + timedelta(seconds=rng.randint(0, 9999)),
        train_s=rng.choice([None, 1.0, 2.0, 3.0]),
        best_epoch=2,
    )
    machine = replace(
        made.environment,
        device=made.environment.device + drawn["device"],
        threads=drawn["threads"],
    )
    kind = "allocated" if drawn["cuda"] else "requested"
    return replace(
        made,
        run=run,
        environment=machine if is_done or rng.random() < 0.6 else None,
        metrics=tuple(_metrics(rng)) if is_done else (),
        memory=tuple(_memory(rng, kind)),
    )


def _metrics(rng: random.Random) -> list[Metric]:
    left_out = rng.choice([None, None, None, "valid", "test"])
    return [
        Metric(split=split, epoch=epoch, name=name, k=k, value=rng.choice([0.0, 0.1, 0.2, 0.3]))
        for split, epoch in (("valid", 1), ("valid", 2), ("test", 2))
        for name, k in (("ndcg", 10), ("hr", 20), ("hr", 10))
        if split != left_out
    ]


def _memory(rng: random.Random, kind: str) -> list[Memory]:
    usual = {"kind": kind, "component": "total", "source": "measured", "reason": None}
    sizes = [rng.choice([None, 100, 200, 200, 300, 300]) for _ in range(2)]
    return [
        Memory(stage=stage, bytes=size, **usual)
        for stage, size in zip(("train", "eval"), sizes, strict=True)
        if rng.random() < 0.95
    ]


def configurations_of(records: list[Record], ids: dict[str, str]) -> dict[tuple[Any, ...], Any]:
    """By the key of a row of `configurations`, its figures. `ids` are the configurations' by run.

    Records take their summary from their own rows alone.
    """
    rows = [_plain(record) | {"configuration": ids[record.run.run_id]} for record in records]
    latest: dict[tuple[Any, ...], Any] = {}
    for row in sorted(rows, key=lambda row: row["turn"]):
        if row["outcome"] is Outcome.DONE:
            latest[row["fingerprint"], row["device"]] = row
    groups: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for row in latest.values():
        groups[tuple(row[name] for name in KEY)].append(row)
    found = {}
    for key, seeds in groups.items():
        device = seeds[0]["device"]
        lost = {
            row["fingerprint"]
            for row in rows
            if row["outcome"] in LOST
            and row["configuration"] == key[0]
            and row["device"] in (None, device)
            and not row["turn"] < latest.get((row["fingerprint"], device), {"turn": (0,)})["turn"]
        }
        figures = {
            "num_seeds": len(seeds),
            "num_lost": len(lost),
            "peak_bytes_max": _largest([row["peak_bytes"] for row in seeds]),
            "eval_peak_bytes_max": _largest([row["eval_peak_bytes"] for row in seeds]),
        }
        for name in ("valid_quality", "test_quality", "peak_bytes", "train_s"):
            known = [row[name] for row in seeds if row[name] is not None]
            figures[name] = statistics.fmean(known) if known else None
            figures[f"{name}_std"] = statistics.stdev(known) if len(known) > 1 else None
        found[key] = figures
    return found


def _largest(sizes: list[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return max(known) if len(known) == len(sizes) else None


def _plain(record: Record) -> dict[str, Any]:
    run, machine = record.run, record.environment
    metric = json.loads(run.spec)["evaluate"]["metric"]
    sizes = {memory.stage: memory.bytes for memory in record.memory}
    qualities = {m.split: m.value for m in record.metrics if f"{m.name}@{m.k}" == metric}
    return {
        **{name: getattr(run, name) for name in ("outcome", "fingerprint", "train_s", "protocol")},
        "data_fingerprint": run.data_fingerprint,
        "results_version": run.results_version,
        "turn": (run.attempt, run.started_at, run.run_id),
        "device": None if machine is None else machine.device,
        "threads": None if machine is None else machine.threads,
        "quality_metric": metric,
        "valid_quality": qualities.get("valid"),  # of epoch 2, the later one
        "test_quality": qualities.get("test"),
        "peak_bytes": sizes.get("train"),
        "eval_peak_bytes": sizes.get("eval"),
    }


def front(found: dict[tuple[Any, ...], Any], cost: str, number: int) -> set[tuple[Any, ...]]:
    """What nothing beats that shares the first `number` columns that must be the same."""
    points = {
        key: (one["valid_quality"], -one[cost])
        for key, one in found.items()
        if one["valid_quality"] is not None and one[cost] is not None and not one["num_lost"]
    }
    return {
        key
        for key, own in points.items()
        if not any(
            other != own and other[0] >= own[0] and other[1] >= own[1]
            for rival, other in points.items()
            if rival[1 : 1 + number] == key[1 : 1 + number]
        )
    }


def best(found: dict[tuple[Any, ...], Any], budget: int) -> set[tuple[Any, ...]]:
    first: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for key, one in found.items():
        sizes = (one["peak_bytes_max"], one["eval_peak_bytes_max"])
        if None in sizes or max(sizes) > budget:
            continue
        if one["num_lost"] or one["valid_quality"] is None:
            continue
        rank = (-one["valid_quality"], one["peak_bytes"], key[0], key)
        place = key[1 : 1 + len(COMPARABLE)]
        first[place] = min(first.get(place, rank), rank, key=lambda rank: rank[:3])
    return {rank[3] for rank in first.values()}


@pytest.mark.parametrize("seed", range(8))
def test_views_are_what_plain_python_finds(fake: Any, ledger: Any, seed: int) -> None:
    records = records_of(fake, random.Random(seed))
    ledger.append(records)
    with ledger.reading():
        names = ledger.query("SELECT run_id, configuration FROM runs").to_pylist()
        ids = {row["run_id"]: row["configuration"] for row in names}
        found = configurations_of(records, ids)
        rows = {tuple(row[name] for name in KEY): row for row in _rows(ledger, "configurations")}
        assert rows.keys() == found.keys()
        for key, figures in found.items():
            for name, figure in figures.items():
                wanted = round(figure + 1e-9) if name == "peak_bytes" and figure else figure
                assert rows[key][name] == pytest.approx(wanted, abs=1e-12), (key, name)
            figures["peak_bytes"] = rows[key]["peak_bytes"]
        assert _keys(ledger, "pareto_memory") == front(found, "peak_bytes", len(COMPARABLE))
        assert _keys(ledger, "pareto_time") == front(found, "train_s", len(COMPARABLE_IN_TIME))
        for budget in (100, 200, 300):
            assert _keys(ledger, f"best_under_budget({budget})") == best(found, budget)


def _rows(ledger: Any, view: str) -> list[dict[str, Any]]:
    return ledger.query(f"FROM {view}").to_pylist()


def _keys(ledger: Any, view: str) -> set[tuple[Any, ...]]:
    return {tuple(row[name] for name in KEY) for row in _rows(ledger, view)}
