"""The ledger at scale: 100,000 runs appended in batches, then asked.

Run with `python tests/bench/bench_store.py [RUNS]`; prints a JSON document: milliseconds a run of
appending batches of 1,000, the commit that replaces one run at the end, and for each question the
best and median seconds of nine, open and close included. The promise: `results` under 0.3 s.
"""

import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scalelab.store.ledger import Ledger

PROMISED_S = 0.3
QUESTIONS = {
    "results": "SELECT * FROM results",
    "results, best twenty": "FROM results ORDER BY valid_ndcg_10 DESC LIMIT 20",
    "results, by loss": "SELECT loss, avg(test_ndcg_10) FROM results GROUP BY loss",
    "configurations": "SELECT * FROM configurations",
    "pareto_memory": "SELECT * FROM pareto_memory",
    "best_under_budget": "SELECT * FROM best_under_budget(300000000)",
}


def main() -> None:
    num_runs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    fake = made_up()
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.create_or_open(Path(folder) / "big.duckdb")
        append_s = 0.0
        for start in range(0, num_runs, 1000):
            records = [record(fake, i) for i in range(start, min(start + 1000, num_runs))]
            append_s += seconds(lambda records=records: ledger.append(records))
        one = record(fake, num_runs - 1)
        replaced = [seconds(lambda: ledger.append([one])) for _ in range(5)]
        asked = {
            name: [seconds(lambda sql=sql: ledger.query(sql)) for _ in range(9)]
            for name, sql in QUESTIONS.items()
        }
        size = ledger.path.stat().st_size
    report = {
        "runs": num_runs,
        "file_bytes": size,
        "append_ms_per_run": 1000 * append_s / num_runs,
        "replace_one_s": statistics.median(replaced),
        "questions": {
            name: {"best_s": min(found), "median_s": statistics.median(found)}
            for name, found in asked.items()
        },
        "promised_s": PROMISED_S,
        "kept": min(asked["results"]) < PROMISED_S,
        "load": os.getloadavg()[0],
    }
    print(json.dumps(report, indent=2))


def record(fake, index: int):
    """One of many configurations, three epochs long."""
    return fake.record(
        index=index,
        loss=fake.LOSSES[index % 6],
        batch_size=2 ** (4 + index // 6 % 6),
        num_negatives=1 + index // 36 % 500,
        seed=index // 18_000,
        num_items=1000 * (1 + index % 7),
        num_epochs=3,
    )


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def made_up():
    """The module that makes records up (tests/store/fake.py)."""
    file = Path(__file__).resolve().parent.parent / "store" / "fake.py"
    spec = importlib.util.spec_from_file_location("fake", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake"] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
