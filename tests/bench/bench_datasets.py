"""Synthetic interactions a second, by the clock and by the processor's time, at several sizes.

Run with `python tests/bench/bench_datasets.py [USERS]`; prints a JSON document. The implementation
that it is compared with draws the same number of items by popularity alone, with numpy's
searchsorted on one core.
"""

import json
import os
import statistics
import sys
import time

import numpy as np

from scalelab.synthetic.model import Synthetic

PROMISED = 5e6


def main() -> None:
    users = int(sys.argv[1]) if len(sys.argv) > 1 else 250_000
    Synthetic(num_users=100).generate()  # compiles
    found = [measure(users, num_items) for num_items in (10_000, 1_000_000, 10_000_000)]
    facts = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "promised_per_s": PROMISED}
    print(json.dumps({**facts, "sizes": found}, indent=1))


def measure(users: int, num_items: int) -> dict[str, float]:
    model = Synthetic(num_users=users, num_items=num_items)
    walls, processors, implementations = [], [], []
    count = 0
    for _ in range(3):
        wall, processor = time.perf_counter(), time.process_time()
        count = model.generate().num_interactions
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
        wall = time.perf_counter()
        draw_by_popularity(count, num_items)
        implementations.append(time.perf_counter() - wall)
    return {
        "num_items": num_items,
        "num_interactions": count,
        "per_s": count / statistics.median(walls),
        "per_processor_s": count / statistics.median(processors),
        "ratio_to_implementation": statistics.median(implementations) / statistics.median(walls),
    }


def draw_by_popularity(count: int, num_items: int) -> np.ndarray:
    cumulative = np.cumsum(1.0 / np.arange(1, num_items + 1))
    draws = np.random.default_rng(0).random(count) * cumulative[-1]
    return np.searchsorted(cumulative, draws).astype(np.int32)


if __name__ == "__main__":
    main()
