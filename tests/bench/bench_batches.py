"""Training batches of amazon-beauty on one core, against a loader written the way gSASRec's is.

Run with `python tests/bench/bench_batches.py [ROUNDS]`; prints a JSON document with sequences per
second, by the clock and by the processor's time (which leaves out what other programs take of the
core), over epochs, and the median ratio to the external implementation, which takes its turn in
the same process. That one pads and does not reject, as gSASRec: a slice and left padding per user,
collated by torch, negatives by `torch.randint`.
"""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numba
import numpy as np
import torch

from scalelab.batches.loader import Loader
from scalelab.core.spec import BatchSpec, DataSpec, NegativesSpec
from scalelab.datasets.interactions import Histories
from scalelab.datasets.load import load, split

SHARED = Path(os.environ.get("SCALELAB_SHARED", Path(__file__).parents[3] / "shared"))
SIZE, MAX_LEN = 128, 50
# (negatives a position, rejecting) -> sequences a second that the project promises on one core.
PROMISED = {(1, False): 3e6, (1, True): 1.5e6, (256, False): 3e5, (256, True): 8e4}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    one_core()
    data = DataSpec(path=str(SHARED / "data/amazon-beauty/interactions.parquet")).resolved()
    parts = split(load(data), data)
    rows = []
    for (num_negatives, reject), promised in PROMISED.items():
        ours = loader(parts.train, parts.num_items, num_negatives, reject)
        implementation = Implementation(parts.train, parts.num_items, num_negatives)
        clock, processor, ratios = [], [], []
        for epoch in range(rounds):
            by_clock, by_processor = rates(partial(ours.epoch, epoch), ours.num_sequences)
            clock.append(by_clock)
            processor.append(by_processor)
            ratios.append(
                by_processor / rates(implementation.steps, implementation.size_of_part)[1]
            )
        rows.append(
            {
                "num_negatives": num_negatives,
                "reject": reject,
                "promised": round(promised),
                "sequences_per_s": summary(clock),
                "sequences_per_processor_s": summary(processor),
                "times_rival": round(statistics.median(ratios), 1),
            }
        )
    shape = ours.shape(0, 0)
    facts = {
        "rows": rows,
        "first_step": shape._asdict(),
        "cpu": platform.processor() or platform.machine(),
        "load": os.getloadavg()[0],
        "versions": {
            "torch": torch.__version__,
            "numba": numba.__version__,
            "numpy": np.__version__,
        },
    }
    print(json.dumps(facts, indent=1))


def one_core() -> None:
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def loader(train: Histories, num_items: int, num_negatives: int, reject: bool) -> Loader:
    batch = BatchSpec(packer="first_fit", size=SIZE, max_len=MAX_LEN)
    negatives = (NegativesSpec(num_negatives=num_negatives, reject=reject),)
    return Loader(train, num_items=num_items, batch=batch, negatives=negatives, seed=1, threads=1)


def rates(steps: Callable[[], Iterable], num_sequences: int) -> tuple[float, float]:
    """Sequences a second of one pass over `steps`, by the clock and by the processor's time."""
    start, start_processor = time.perf_counter(), time.process_time()
    for _ in steps():
        pass
    clock, processor = time.perf_counter() - start, time.process_time() - start_processor
    return num_sequences / clock, num_sequences / processor


def summary(values: list[float]) -> dict[str, int]:
    return {"median": round(statistics.median(values)), "max": round(max(values))}


class Implementation:
    """Padded batches from a list of histories; a pass takes 20 steps, for it is slow."""

    def __init__(self, train: Histories, num_items: int, num_negatives: int) -> None:
        self.sequences = [train[user].tolist() for user in range(len(train))]
        self.num_items = num_items
        self.num_negatives = num_negatives
        self.size_of_part = 20 * SIZE

    def steps(self):
        order = torch.randperm(len(self.sequences)).tolist()
        for begin in range(0, self.size_of_part, SIZE):
            padded = [self._padded(user) for user in order[begin : begin + SIZE]]
            ids = torch.tensor(padded, dtype=torch.long)
            shape = (SIZE, MAX_LEN, self.num_negatives)
            yield ids[:, :-1], ids[:, 1:], torch.randint(1, self.num_items + 1, shape)

    def _padded(self, user: int) -> list[int]:
        kept = self.sequences[user][-(MAX_LEN + 1) :]
        return [0] * (MAX_LEN + 1 - len(kept)) + kept


if __name__ == "__main__":
    main()
