"""Train twice from one seed and say which parameters differ."""

from typing import Any

import torch
from call import Call

from scalelab.core import plugins
from scalelab.core.spec import RunSpec
from scalelab.train.assemble import assemble

__all__ = ["run"]


def run(call: Call) -> None:
    """Every model, in both precisions, and with long histories; then the sampled loss."""
    runs: list[dict[str, Any]] = [
        {"model.name": name, "train.precision": precision}
        for name in plugins.available("models")
        for precision in ("fp32", "bf16")
    ]
    long = {"batch.max_len": 200, "data.mean_length": 190, "data.max_length": 250}
    if call.is_cuda:  # their second block of keys is what a GPU has
        runs += [{"model.name": name} | long for name in plugins.available("models")]
    shared = {"negatives.per": "batch", "negatives.num_negatives": 1024}
    runs.append({"loss.name": "sampled_softmax"} | shared)
    for changes in runs:
        call.need(1)
        first, second = _weights(call, changes), _weights(call, changes)
        differ = {
            name: float((first[name] - second[name]).abs().max())
            for name in first
            if not torch.equal(first[name], second[name])
        }
        what = "the same bits twice: " + " ".join(map(str, changes.values()))
        call.check(what, not differ, differ or "all parameters")


def _weights(call: Call, changes: dict[str, Any]) -> dict[str, torch.Tensor]:
    sizes = (400, 5000, 10) if call.is_cuda else (200, 500, 2)
    base = {
        "device.name": call.device,
        "data.num_users": sizes[0],
        "data.num_items": sizes[1],
        "train.max_steps": sizes[2],
        "train.epochs": 2,
        "data.max_eval_users": 64,
    }
    trainer = assemble(RunSpec.load("sasrec-synthetic", base | changes))
    trainer.fit()
    return {name: p.detach().clone() for name, p in trainer.parts.model.named_parameters()}
