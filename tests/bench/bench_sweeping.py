"""What a sweep costs beside its runs: a process each, a large study, a search, queries on the way.

Run with `python tests/bench/bench_sweeping.py [overhead|scale|search|queries ...]`; prints a JSON
document a part. Runs are fakes, so that only the sweep itself is measured.
"""

import json
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "sweeping" / "fakes"))

import sweeping_fakes
from sweeping_helpers import BASE, Heard, hooks

from scalelab.core.events import SweepObserver
from scalelab.core.records import Outcome
from scalelab.core.study import StudySpec
from scalelab.store.ledger import Ledger
from scalelab.sweeping import runner
from scalelab.sweeping.driver import Driver
from scalelab.sweeping.grid import expand
from scalelab.sweeping.planner import Planner, in_order
from scalelab.sweeping.search import Figures, Search
from scalelab.sweeping.signals import Stops
from scalelab.sweeping.task import Limits, utc_now


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
    lab = hooks(modules=lambda specs: ["scalelab.measure.session", "torch._dynamo"])
    since = time.monotonic()
    result = runner.sweep(study, folder / "overhead.duckdb", executor="processes", hooks=lab)
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
                    sweeping_fakes._record(task, Outcome.DONE, started, metrics, 10)
                )

    def stop(self, now: bool) -> None:
        raise AssertionError("nobody stops a simulation")

    end = open = close = stop


def scale(folder: Path, cells: int = 10_000, workers: int = 200) -> dict:
    """A study of 10,000 cells on 200 workers with runs of ten minutes, without the runs."""
    study = made(
        folder,
        axes={"batch.size": list(range(1, cells // 10 + 1)), "train.epochs": list(range(1, 11))},
    )
    began = time.process_time()
    ledger = Ledger.create_or_open(folder / "scale.duckdb")
    lab = hooks()
    planner = Planner(
        attempts={},
        rerun=frozenset(),
        fingerprint=lab.fingerprint,
        forecast=lambda specs: lab.forecast(specs, None)[0],
    )
    jobs = in_order(planner.jobs(expand(study)), "cost")
    planned = time.process_time()
    executor = Simulated(workers, 600.0)
    with ledger.writing() as writer:
        driver = Driver(
            executor=executor,
            writer=writer,
            observer=SweepObserver(),
            stops=Stops(),
            study_id="bench",
            limits=Limits(),
            keep=folder / "keep",
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


def queries(folder: Path) -> dict:
    """A query every 100 ms while 60 short runs are written; how long each took."""
    study = made(folder, axes={"batch.size": list(range(1, 61))}, set={"train.learning_rate": 0.05})
    path = folder / "queries.duckdb"
    Ledger.create_or_open(path)
    took, over = [], threading.Event()

    def ask() -> None:
        while not over.wait(0.1):
            since = time.monotonic()
            Ledger(path).query("SELECT count(*) FROM results")
            took.append(time.monotonic() - since)

    asking = threading.Thread(target=ask)
    asking.start()
    heard = Heard()
    since = time.monotonic()
    runner.sweep(study, path, executor="processes", workers=2, observer=heard, hooks=hooks())
    whole = time.monotonic() - since
    over.set()
    asking.join()
    return {
        "queries": len(took),
        "median_ms": 1000 * statistics.median(took),
        "most_ms": 1000 * max(took),
        "sweep_s": whole,
        "runs": len(heard.ended),
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


def search(folder: Path) -> dict:
    """NSGA-II and random search, 60 runs each of a stored grid, by 10 seeds.

    The grid is a ledger of real runs where the environment names one (SCALELAB_GRID), over the
    axes loss, batch and negatives; else a surface of the shape that such grids have.
    """
    import math

    losses, sizes = ["bce", "sampled_softmax", "dense_ce", "cross_entropy"], [32, 64, 128, 256, 512]
    negatives = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    base = {"bce": 0.55, "sampled_softmax": 0.75, "dense_ce": 0.9, "cross_entropy": 0.9}
    table = {}
    for loss in losses:
        for size in sizes:
            for k in negatives:
                full = loss in ("dense_ce", "cross_entropy")
                gain = 0.0 if full else 0.06 * math.log2(k) / (1 + math.log2(k) / 6)
                ripple = 0.02 * math.sin(3 * math.log2(size) + 5 * math.log2(k) * (not full))
                quality = base[loss] + gain - 0.03 * abs(math.log2(size / 128)) + ripple
                tall = 5000 if loss == "dense_ce" else 700 if loss == "cross_entropy" else k
                table[loss, size, k] = quality, math.log2(20 + size * 0.08 + size * tall * 8e-4)
    worst = max(cost for _, cost in table.values()) + 1
    whole = hypervolume(table.values(), worst)
    shares: dict[str, list[float]] = {"random": [], "nsga2": []}
    for sampler, found in shares.items():
        for seed in range(10):
            study = made(
                folder,
                axes={
                    "loss.name": losses,
                    "batch.size": sizes,
                    "negatives.num_negatives": negatives,
                },
                set={"negatives.name": "uniform"},
                search={"sampler": sampler, "trials": 60, "population": 10, "seed": seed},
            )
            asked = Search(study, {})
            seen = []
            while len(seen) < 60 and (cell := asked.ask()) is not None:
                spec = cell.spec
                k = sum(source.num_negatives for source in spec.negatives) or 1
                quality, cost = table[spec.loss.name, spec.batch.size, k]
                seen.append((quality, cost))
                asked.tell(cell, Figures(quality=quality, memory=cost, time=1.0))
            found.append(hypervolume(seen, worst) / whole)
    return {
        "cells": len(table),
        "median_share_of_the_grid": {k: statistics.median(v) for k, v in shares.items()},
        "seeds_won_by_nsga2": sum(
            n > r for n, r in zip(shares["nsga2"], shares["random"], strict=True)
        ),
        "shares": shares,
    }


PARTS = {"overhead": overhead, "scale": scale, "queries": queries, "search": search}


def main(names: list[str]) -> None:
    for name in names or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps({name: PARTS[name](Path(folder))}, indent=1), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
