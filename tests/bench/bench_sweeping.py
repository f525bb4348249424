"""What a sweep costs beside its runs: a process each, a large study, a search, queries on the way.

Run with `python tests/bench/bench_sweeping.py [overhead|scale|queries|search|grid ...]`; prints a
JSON document a part. Runs are fakes, so that only the sweep itself is measured; but `grid` makes
the 200 real runs that `search` replays, and keeps them in results/search-grid.csv.
"""

import csv
import itertools
import json
import math
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))

import sweeping_fakes
from sweeping_helpers import BASE, hooks

from scalelab.core.events import SweepObserver
from scalelab.core.limits import Limits
from scalelab.core.records import Outcome
from scalelab.core.study import StudySpec
from scalelab.result_tables.rows import save
from scalelab.store.ledger import Ledger
from scalelab.studies.grid import expand
from scalelab.studies.search import ObjectiveValues, Search
from scalelab.sweeping import runner
from scalelab.sweeping.driver import Driver
from scalelab.sweeping.jobs import Planner, in_order
from scalelab.sweeping.signals import StopSignals
from scalelab.workers.task import utc_now


def made(folder: Path, **tables) -> StudySpec:
    base = folder / "base.toml"
    base.write_text(BASE)
    return StudySpec.model_validate({"name": "bench", "base": str(base), **tables})


def overhead(folder: Path, number: int = 50) -> dict:
    """Fifty runs of one second on one worker, torch imported in the warm process."""
    study = made(
        folder,
        axes={"batch.size": list(range(1, number + 1))},
        set={"train.epochs": 1, "train.learning_rate": 1.0},
    )
    quick = hooks(modules=lambda specs: ["scalelab.measure.session", "torch._dynamo"])
    since = time.monotonic()
    result = runner.sweep(study, folder / "overhead.duckdb", executor="processes", hooks=quick)
    whole = time.monotonic() - since
    gaps = Ledger(folder / "overhead.duckdb").query(
        """SELECT date_diff('millisecond', lag(started_at) OVER (ORDER BY started_at), started_at)
           AS ms FROM runs"""
    )
    between = [row["ms"] for row in gaps.to_pylist() if row["ms"] is not None]
    return {
        "counts": dict(result.counts),
        "seconds_per_run": whole / number,
        "median_ms_from_start_to_start": statistics.median(between),
        "load": os.getloadavg()[0],
    }


class Simulated:
    """Workers that take ten minutes of a clock of their own, and report once a second of it."""

    blocking = False
    shares_memory = False

    def __init__(self, slots: int, run_s: float) -> None:
        self.slots = slots
        self.run_s = run_s
        self.now_s = 0.0
        self.running: dict = {}
        self.driver: Driver

    def submit(self, task) -> None:
        self.running[task.run_id] = (
            task,
            self.now_s + self.run_s * (0.5 + hash(task.run_id) % 100 / 100),
        )

    def poll(self, timeout_s: float) -> None:
        """One second passes: every worker reports, and some end."""
        self.now_s += 1.0
        for run_id, (task, end_s) in list(self.running.items()):
            epoch = int(self.run_s - (end_s - self.now_s)) // 60
            self.driver.on_progress(sweeping_fakes.progress(task, "train", epoch))
            if self.now_s >= end_s:
                del self.running[run_id]
                started = utc_now()
                metrics = [
                    sweeping_fakes.Metric(split="valid", epoch=e, name=n, k=k, value=0.1)
                    for e in range(1, 11)
                    for n in ("ndcg", "hr", "mrr")
                    for k in (1, 5, 10, 20)
                ]
                self.driver.on_record(
                    sweeping_fakes.finished_record(task, Outcome.DONE, started, metrics, 10)
                )

    def stop(self, now: bool) -> None:
        raise AssertionError("nobody stops a simulation")

    end = open = close = stop


def scale(folder: Path, configurations: int = 10_000, workers: int = 200) -> dict:
    """A study of 10,000 configurations on 200 workers, with runs of ten simulated minutes."""
    study = made(
        folder,
        axes={
            "batch.size": list(range(1, configurations // 10 + 1)),
            "train.epochs": list(range(1, 11)),
        },
    )
    began = time.process_time()
    ledger = Ledger.create_or_open(folder / "scale.duckdb")
    quick = hooks()
    planner = Planner(
        attempts={},
        rerun=frozenset(),
        fingerprint=quick.fingerprint,
        forecast=lambda specs: quick.forecast(specs, None)[0],
    )
    jobs = in_order(planner.jobs(expand(study)), "cost")
    planned = time.process_time()
    executor = Simulated(workers, 600.0)
    with ledger.writing() as writer:
        driver = Driver(
            executor=executor,
            writer=writer,
            observer=SweepObserver(),
            stops=StopSignals(),
            study_id="bench",
            limits=Limits(),
            checkpoint_dir=folder / "keep",
            clock=lambda: executor.now_s,
        )
        executor.driver = driver
        driver.add(jobs)
        driver.run()
    spent = time.process_time() - planned
    return {
        "cells": len(jobs),
        "done": sum(o is Outcome.DONE for o in driver.outcomes.values()),
        "planning_cpu_s": planned - began,
        "driver_cpu_s": spent,
        "simulated_s": executor.now_s,
        "share_of_a_core": spent / executor.now_s,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "ledger_mib": (folder / "scale.duckdb").stat().st_size / 2**20,
    }


ASK = """
import sys, time
from scalelab.store.ledger import Ledger
while True:
    since = time.monotonic()
    Ledger(sys.argv[1]).query("SELECT count(*) FROM results")
    print(time.monotonic() - since, flush=True)
    time.sleep(0.1)
"""


def queries(folder: Path, rounds: int = 3) -> dict:
    """60 short runs, in turn undisturbed and with another process that asks every 100 ms.

    How long the questions took, and how long after the end of a run the next one started.
    """
    study = made(folder, axes={"batch.size": list(range(1, 61))}, set={"train.learning_rate": 0.05})
    took: list[float] = []
    gaps: dict[str, list[float]] = {"undisturbed": [], "asked": []}
    for number in range(rounds):
        for how, found in gaps.items():
            path = folder / f"{how}{number}.duckdb"
            Ledger.create_or_open(path)
            asking = None
            if how == "asked":
                command = [sys.executable, "-c", ASK, str(path)]
                asking = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            runner.sweep(study, path, executor="processes", hooks=hooks())
            if asking is not None:
                asking.kill()
                took += [float(line) for line in asking.communicate()[0].split()]
                # A question that failed would have ended the process before we killed it.
                assert asking.returncode == -signal.SIGKILL
            rows = Ledger(path).query("SELECT started_at, wall_s FROM runs ORDER BY 1").to_pylist()
            found += [
                (after["started_at"] - before["started_at"]).total_seconds() - before["wall_s"]
                for before, after in itertools.pairwise(rows)
            ]
    quartiles = {how: statistics.quantiles(found, n=20) for how, found in gaps.items()}
    return {
        "questions": len(took),
        "question_median_ms": 1000 * statistics.median(took),
        "question_most_ms": 1000 * max(took),
        "gaps": {how: len(found) for how, found in gaps.items()},
        "gap_median_ms": {how: 1000 * q[9] for how, q in quartiles.items()},
        "gap_95_percent_ms": {how: 1000 * q[18] for how, q in quartiles.items()},
        "load": os.getloadavg()[0],
    }


def front_of(points) -> list[tuple[float, float]]:
    """Points (quality, cost) that nothing beats."""
    kept: list[tuple[float, float]] = []
    for quality, cost in sorted(set(points), key=lambda p: (p[1], -p[0])):
        if not kept or quality > kept[-1][0]:
            kept.append((quality, cost))
    return kept


def hypervolume(points, worst_cost: float) -> float:
    """Area that a front dominates, down to quality 0 and up to `worst_cost`."""
    front = front_of(points)
    costs = [cost for _, cost in front[1:]] + [worst_cost]
    return sum(q * (after - cost) for (q, cost), after in zip(front, costs, strict=True))


GRID = Path(__file__).parent / "results" / "search-grid.csv"
AXES = ("loss.name", "batch.size", "negatives.num_negatives")
QUESTION = """
    SELECT loss, batch_size, num_negatives, valid_ndcg_10, peak_bytes, train_s
    FROM results ORDER BY ALL
"""


def grid(folder: Path) -> dict:
    """Run the 200 configurations of search_grid.toml, two at a time, and keep what came of them."""
    study = StudySpec.load(str(Path(__file__).with_name("search_grid.toml")))
    path = folder / "grid.duckdb"
    result = runner.sweep(study, path, workers=2)
    table = Ledger(path).query(QUESTION)
    save(table, "csv", GRID)
    return {"counts": dict(result.counts), "rows": table.num_rows}


def search(folder: Path) -> dict:
    """NSGA-II and random search, 60 runs each of the stored grid of real runs, by 10 seeds.

    Judged by the area that a front covers between quality (validation NDCG@10, from 0) and the
    logarithm of the peak of training memory (up to the grid's largest), as a share of the grid's.
    """
    table = {}
    with GRID.open() as lines:
        for row in csv.DictReader(lines):
            configuration = row["loss"], int(row["batch_size"]), int(row["num_negatives"])
            table[configuration] = float(row["valid_ndcg_10"]), math.log2(float(row["peak_bytes"]))
    worst = max(cost for _, cost in table.values())
    whole = hypervolume(table.values(), worst)
    axes = {
        key: sorted({configuration[place] for configuration in table})
        for place, key in enumerate(AXES)
    }
    shares: dict[str, list[float]] = {"random": [], "nsga2": []}
    for sampler, found in shares.items():
        for seed in range(10):
            study = made(
                folder,
                axes=axes,
                set={"negatives.name": "uniform"},
                search={"sampler": sampler, "trials": 60, "population": 10, "seed": seed}
                | {"objectives": ["quality", "memory"]},
            )
            asked = Search(study, {})
            seen = []
            while len(seen) < 60 and (configuration := asked.ask()) is not None:
                spec = configuration.spec
                key = spec.loss.name, spec.batch.size, spec.negatives[0].num_negatives
                seen.append(table[key])
                asked.tell(
                    configuration,
                    ObjectiveValues(quality=seen[-1][0], memory=seen[-1][1], time=1.0),
                )
            found.append(hypervolume(seen, worst) / whole)
    return {
        "cells": len(table),
        "median_share_of_the_grid": {k: statistics.median(v) for k, v in shares.items()},
        "seeds_won_by_nsga2": sum(
            n > r for n, r in zip(shares["nsga2"], shares["random"], strict=True)
        ),
        "shares": shares,
    }


PARTS = {"overhead": overhead, "scale": scale, "queries": queries, "grid": grid, "search": search}


def main(names: list[str]) -> None:
    for name in names or [part for part in PARTS if part != "grid"]:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps({name: PARTS[name](Path(folder))}, indent=1), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
