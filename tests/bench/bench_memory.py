"""Predicted, accounted and allocated peaks of drawn runs; a script: bench_memory.py [N] [SEED]."""

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import torch

from scalelab.core import plugins
from scalelab.core.errors import ScalelabError
from scalelab.core.spec import RunSpec
from scalelab.core.units import GIB
from scalelab.measure.passes import account_of, batch_tensors, step_of, training_pass
from scalelab.planning.devices import load_device
from scalelab.planning.predict import predict
from scalelab.train.assemble import assemble

# Draws that are predicted to take more are rejected, and counted.
MOST_BYTES = 4 * GIB
MOST_SECONDS = 20.0
GPU_ONLY = {"cut_ce", "liger_ce"}


def draw(rng: random.Random, index: int) -> dict[str, Any]:
    """Settings of one run: losses and models take turns, the rest is drawn."""
    losses = [name for name in plugins.available("losses") if name not in GPU_ONLY]
    models = plugins.available("models")
    settings: dict[str, Any] = {
        "loss.name": losses[index % len(losses)],
        "model.name": models[index % len(models)],
        "model.hidden_dim": 2 * rng.randint(8, 128),
        "data.num_items": int(10 ** rng.uniform(3, 5.3)),
        "data.num_users": 2000,
        "batch.size": int(2 ** rng.uniform(0, 9)),
        "batch.max_len": rng.randint(5, 200),
        # Prefixes are refused with masked items and with the last position alone.
        "batch.packer": rng.choice([p for p in plugins.available("packers") if p != "prefixes"]),
        "train.precision": rng.choice(["fp32", "bf16"]),
        "train.optimizer": rng.choice(["adam", "adamw", "sgd"]),
        "negatives.num_negatives": int(2 ** rng.uniform(0, 9)),
        "negatives.per": rng.choice(["position", "sequence", "batch"]),
        "loss.train_on": rng.choice(["all", "all", "last"]),
    }
    if "num_heads" in plugins.options("models", settings["model.name"]):
        settings["model.num_heads"] = rng.choice([1, 2])
    return settings


def allocated_peak(work: Any) -> int:
    """The highest sum of torch.profiler's allocation events."""
    with torch.profiler.profile(profile_memory=True, acc_events=True) as profiler:
        work()
    events: list[tuple[int, int]] = []

    def walk(nodes: list[Any]) -> None:
        for node in nodes:
            if node.tag.name == "Allocation":
                events.append((node.start_time_ns, node.extra_fields.alloc_size))
            walk(node.children)

    kineto: Any = profiler.profiler
    walk(kineto.kineto_results.experimental_event_tree())
    live = peak = 0
    for _, size in sorted(events, key=lambda event: event[0]):
        live += size
        peak = max(peak, live)
    return peak


def compare(spec: RunSpec) -> dict[str, float]:
    """Relative errors: prediction against account, worst component, account against torch."""
    predicted = predict(spec, load_device("cpu")).memory["requested"]
    trainer = assemble(spec)
    _, choice = training_pass(trainer)
    with step_of(trainer, choice) as (batch, step):
        step()
        account = account_of(trainer)
        account.label("batch", batch_tensors(batch))
        floor = account.peak_bytes
        with trainer.observed_by([account]), account:
            step()
        witness = floor + allocated_peak(step)
    peak, parts = account.peak_bytes, account.peak_components()
    assert sum(parts.values()) == peak
    worst = max(abs(predicted.get(name, 0) - count) for name, count in parts.items())
    return {
        "peak_bytes": peak,
        "predicted": predicted["total"] / peak - 1,
        "component": worst / peak,
        "profiler": peak / witness - 1,
    }


def main(count: int = 40, seed: int = 1) -> None:
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    rejected, index = 0, 0
    while len(rows) < count:
        settings = draw(rng, index)
        index += 1
        try:
            spec = RunSpec.load("sasrec-synthetic", {"device.name": "cpu"} | settings)
            plan = predict(spec, load_device("cpu"))
        except ScalelabError as error:
            print("refused:", error, settings["loss.name"])
            rejected += 1
            continue
        if plan.peak_bytes > MOST_BYTES or plan.step_s.high > MOST_SECONDS:
            rejected += 1
            continue
        begun = time.perf_counter()
        found = compare(spec)
        rows.append({"settings": settings, **found})
        print(
            f"{settings['loss.name']:16s}{settings['model.name']:8s}"
            f"{found['peak_bytes'] / 1e6:9.1f} MB predicted {found['predicted']:+.4%} "
            f"component {found['component']:.4%} profiler {found['profiler']:+.4%} "
            f"({time.perf_counter() - begun:.1f} s)",
            flush=True,
        )
    worst = {
        key: max(abs(row[key]) for row in rows) for key in ("predicted", "component", "profiler")
    }
    print(f"{len(rows)} runs, {rejected} draws rejected, worst {worst}")
    result = {"seed": seed, "rejected": rejected, "worst": worst, "torch": torch.__version__}
    path = Path(__file__).parent / "results" / "memory.json"
    path.write_text(json.dumps(result | {"runs": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main(*(int(value) for value in sys.argv[1:]))
