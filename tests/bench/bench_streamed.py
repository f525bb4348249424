"""Time of a streamed step against a dense one, in turn, in one process: processor seconds.

Run with `python tests/bench/bench_streamed.py [POSITIONS:ITEMS ...]`; prints one line of JSON for
each pair and number of threads. `ratio` is the median of the ratios of steps that ran one after the
other. A pair is cross-entropy with AdamW, or with `sampled/` before it sampled softmax with 8,192
shared negatives and lazy Adam against dense Adam. `apart/` and `apart/sampled/` hold one of the two
at a time, for catalogs of which both do not fit. On a shared machine set OMP_WAIT_POLICY=PASSIVE:
threads that wait for each other count as work else.
"""

import json
import statistics
import sys
import time
from typing import Any

import torch

from scalelab.core.spec import RunSpec
from scalelab.measure.environment import computing_with
from scalelab.train.assemble import assemble
from scalelab.train.trainer import Trainer

PAIRS = ("6400:100000", "6400:200000", "6400:500000", "256:1000000")
SHARED = {
    "loss.name": "sampled_softmax",
    "negatives.per": "batch",
    "negatives.num_negatives": 8192,
}


def trainer(items: int, positions: int, changes: dict[str, Any]) -> Trainer:
    """A run whose every step has so many positions: the last one of so many users."""
    settings = {
        "data.num_items": items,
        "data.num_users": 2 * positions,
        "data.max_eval_users": 8,
        "batch.size": positions,
        "batch.max_len": 8,
        "model.hidden_dim": 64,
        "model.num_blocks": 1,
        "loss.name": "cross_entropy",
        "loss.train_on": "last",
        "train.optimizer": "adamw",
        "device.name": "cpu",
    }
    return assemble(RunSpec.load("sasrec-synthetic", settings | changes))


def seconds_of(positions: int, items: int, rounds: int, many: list[dict[str, Any]]) -> list[Any]:
    """Processor seconds of the steps of each, taken in turn after one step of warming up."""
    trainers = [trainer(items, positions, changes) for changes in many]
    seconds: list[list[float]] = [[] for _ in many]
    for round_ in range(rounds + 1):
        for number, each in enumerate(trainers):
            batch = each.loader.batch(0, 0)
            start = time.process_time()
            each.step(batch, 1, round_)
            if round_:
                seconds[number].append(time.process_time() - start)
    return seconds


def compared(
    positions: int, items: int, rounds: int, changes: dict[str, Any], *, apart: bool
) -> dict[str, Any]:
    """The figures of one pair: the same without and with `changes` of the table's update."""
    both = [{key: value for key, value in changes.items() if key in SHARED}, changes]
    if apart:
        seconds = [seconds_of(positions, items, rounds, [each])[0] for each in both]
    else:
        seconds = seconds_of(positions, items, rounds, both)
    dense, streamed = map(statistics.median, seconds)
    return {
        "threads": torch.get_num_threads(),
        "positions": positions,
        "items": items,
        "optimizer": changes["train.table.optimizer"],
        "loss": changes.get("loss.name", "cross_entropy"),
        "dense_s": dense,
        "streamed_s": streamed,
        "ratio": statistics.median(late / early for early, late in zip(*seconds, strict=True)),
    }


def main() -> None:
    torch.manual_seed(0)
    streamed = {"train.table.update": "streamed"}
    adamw, lazy = ({"train.table.optimizer": name} for name in ("adamw", "lazy_adam"))
    for pair in sys.argv[1:] or PAIRS:
        *kinds, sizes = pair.split("/")
        positions, items = map(int, sizes.split(":"))
        changes = streamed | (lazy | SHARED if "sampled" in kinds else adamw)
        rounds = 5 if positions * items < 2 * 10**9 else 3
        for threads in (1, 2):
            with computing_with(threads):
                found = compared(positions, items, rounds, changes, apart="apart" in kinds)
                print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
