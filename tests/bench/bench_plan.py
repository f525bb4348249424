"""Seconds of planning ten million items and 60 cells, and what probes cost a step; a script."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch

from scalelab.core.spec import RunSpec
from scalelab.measure.probes.host_rss import HostRss
from scalelab.measure.probes.step_timer import StepTimer
from scalelab.train.assemble import assemble

STUDY = """
base = "sasrec-synthetic"
[axes]
"data.num_items" = [10_000, 31_623, 100_000, 316_228, 1_000_000]
"batch.size" = [32, 128, 512]
"loss.name" = ["dense_ce", "cross_entropy", "bce", "sampled_softmax"]
"""


def seconds_of(*words: str) -> float:
    """Wall clock of a command of scalelab in a fresh process, imports included."""
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "scalelab", *words], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - begun


def probe_overhead(pairs: int = 300) -> tuple[float, float, float]:
    """Median ratio of a step with probes to one without, with its 95 % interval by bootstrap."""
    trainer = assemble(
        RunSpec.load("sasrec-synthetic", {"data.num_users": 2000, "device.name": "cpu"})
    )
    batch = trainer.loader.batch(0, trainer.loader.largest_step(0))
    probes = [StepTimer(), HostRss()]
    for probe in probes:
        probe.open(torch.device("cpu"), time.perf_counter)

    def plain() -> float:
        begun = time.perf_counter()
        trainer.step(batch, 1, 0)
        return time.perf_counter() - begun

    def probed() -> float:
        with trainer.observed_by(probes):
            return plain()

    for _ in range(5):
        plain(), probed()
    rng = random.Random(0)
    ratios = []
    for _ in range(pairs):
        if rng.random() < 0.5:  # neither of the two always comes first
            without, with_probes = plain(), probed()
        else:
            with_probes, without = probed(), plain()
        ratios.append(with_probes / without)
    drawn = sorted(median(rng.choices(ratios, k=pairs)) for _ in range(1000))
    return median(ratios), drawn[24], drawn[974]


def main() -> None:
    large = ("plan", "sasrec-synthetic", "--set", "data.num_items=10000000", "--on", "rtx3090")
    found = {"ten_million_items_s": median(seconds_of(*large, "--json") for _ in range(5))}
    study = Path(__file__).parent / "results" / "sixty-cells.toml"
    study.write_text(STUDY)
    found["sixty_cells_s"] = seconds_of("plan", str(study), "--on", "rtx3090", "--json")
    study.unlink()
    ratio, low, high = probe_overhead()
    found |= {"probe_ratio": ratio, "probe_ratio_low": low, "probe_ratio_high": high}
    print(json.dumps(found, indent=1))
    path = Path(__file__).parent / "results" / "plan.json"
    path.write_text(json.dumps(found | {"torch": torch.__version__}, indent=1) + "\n")


if __name__ == "__main__":
    main()
