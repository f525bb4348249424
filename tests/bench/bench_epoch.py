"""An epoch of SASRec with full cross-entropy on amazon-beauty: packed rows against the papers' way.

Run with `python tests/bench/bench_epoch.py [STEPS]`; prints a JSON document with the medians. The
two sides take the same steps in turn: same users, same optimizer, dropout on in both; before
timing, their gradients are compared with dropout off.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from scalelab.core.spec import RunSpec
from scalelab.train.assemble import Data, assemble, load_data
from scalelab.train.step import encoder_input
from scalelab.train.trainer import Trainer

SHARED = Path(os.environ.get("SCALELAB_SHARED", Path(__file__).parents[3] / "shared"))


def spec(packer: str, **changes: object) -> RunSpec:
    path = str(SHARED / "data/amazon-beauty/interactions.parquet")
    overrides = {"data.path": path, "batch.packer": packer, "loss.name": "cross_entropy"} | {
        "device.name": "cpu"
    }
    return RunSpec.load("sasrec-beauty", overrides | changes)


def papers_step(trainer: Trainer, number: int, update: bool = True) -> Tensor:
    """Logits of every padded position, as SASRec.pytorch-style trainers do."""
    parts, batch = trainer.parts, trainer.loader.batch(0, number)
    targets = torch.zeros(batch.item_ids_BL.numel(), dtype=torch.long)
    targets[batch.valid_N] = batch.targets_N
    hidden_BLD = parts.model(encoder_input(batch))
    logits = F.linear(hidden_BLD.flatten(0, 1), parts.model.item_table_VD)
    # Row 0 is padding: out of the softmax, as in ours.
    logits[:, 0] = -torch.inf
    loss = F.cross_entropy(logits, targets, ignore_index=0)
    loss.backward()
    if update:
        parts.optimizer.step()
        parts.optimizer.zero_grad(set_to_none=True)
    return loss.detach()


def our_step(trainer: Trainer, number: int, update: bool = True) -> Tensor:
    return trainer.step(trainer.loader.batch(0, number), 1, number, update=update)


def gradients(trainer: Trainer) -> Tensor:
    grads = [p.grad.flatten() for p in trainer.parts.model.parameters()]
    trainer.parts.optimizer.zero_grad(set_to_none=True)
    return torch.cat(grads)


def largest_difference(data: Data) -> float:
    """Of the gradients of one step with dropout off, over their norm."""
    ours, papers = (
        assemble(spec(packer, **{"model.dropout": 0.0}), data)
        for packer in ("first_fit", "pad_left")
    )
    our_step(ours, 3, update=False)
    papers_step(papers, 3, update=False)
    left, right = gradients(ours), gradients(papers)
    return float((left - right).norm() / right.norm())


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    data = load_data(spec("first_fit"))
    difference = largest_difference(data)
    ours, papers = assemble(spec("first_fit"), data), assemble(spec("pad_left"), data)
    ours.parts.model.train()
    papers.parts.model.train()
    our_step(ours, 0)
    papers_step(papers, 0)
    seconds: dict[str, list[float]] = {"ours": [], "papers": []}
    for number in range(1, steps + 1):
        for name, step, trainer in (("ours", our_step, ours), ("papers", papers_step, papers)):
            start = time.perf_counter()
            step(trainer, number)
            seconds[name].append(time.perf_counter() - start)
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["papers"], strict=True)]
    start = time.perf_counter()
    metrics = ours.evaluate("test")
    evaluation_s = time.perf_counter() - start
    median = {name: statistics.median(values) for name, values in seconds.items()}
    facts = {
        "steps_an_epoch": ours.loader.num_steps,
        "epoch_s": {name: value * ours.loader.num_steps for name, value in median.items()},
        "papers_over_ours": {
            "median": statistics.median(ratios),
            "min": min(ratios),
            "max": max(ratios),
        },
        "gradient_difference": difference,
        "evaluation_s": evaluation_s,
        "evaluated_users": metrics["num_users"],
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
    }
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
