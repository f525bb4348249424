"""Time of a streamed step against a dense one, in turn, in one process: processor seconds.

Run with `python tests/bench/bench_streamed.py [POSITIONS:ITEMS ...]`; prints a JSON document. Each
row is one pair of settings; `ratio` is that of the medians. By itself it takes the pairs of cross
entropy with AdamW, and of sampled softmax with lazy Adam against dense Adam.
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


def compared(positions: int, items: int, rounds: int, changes: dict[str, Any]) -> dict[str, Any]:
    """Processor seconds of both, taken in turn after one step of warming up."""
    of_loss = {key: value for key, value in changes.items() if key in SHARED}
    both = [trainer(items, positions, of_loss), trainer(items, positions, changes)]
    seconds: list[list[float]] = [[], []]
    for round_ in range(rounds + 1):
        for number, each in enumerate(both):
            batch = each.loader.batch(0, 0)
            start = time.process_time()
            each.step(batch, 1, round_)
            if round_:
                seconds[number].append(time.process_time() - start)
    dense, streamed = map(statistics.median, seconds)
    return {
        "positions": positions,
        "items": items,
        "optimizer": changes["train.table.optimizer"],
        "loss": changes.get("loss.name", "cross_entropy"),
        "dense_s": dense,
        "streamed_s": streamed,
        "ratio": streamed / dense,
    }


def main() -> None:
    torch.manual_seed(0)
    streamed = {"train.table.update": "streamed"}
    adamw, lazy = ({"train.table.optimizer": name} for name in ("adamw", "lazy_adam"))
    with computing_with(1):
        for pair in sys.argv[1:] or PAIRS:
            kind, _, sizes = pair.rpartition("/")
            positions, items = map(int, sizes.split(":"))
            changes = streamed | (lazy | SHARED if kind == "sampled" else adamw)
            rounds = 5 if positions * items < 10**9 else 3
            print(json.dumps(compared(positions, items, rounds, changes)), flush=True)


if __name__ == "__main__":
    main()
