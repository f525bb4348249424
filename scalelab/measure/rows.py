"""Record what a run's loss really used, its largest steps, and the baselines of its data."""

import json
from typing import cast

import torch
from torch import Tensor

from scalelab.batches.steps import StepChoice
from scalelab.core.records import Baseline, Run, Sample
from scalelab.losses import options_used
from scalelab.losses.kernels.choice import kernels_used
from scalelab.measure.largest import largest_steps
from scalelab.train.baselines import baseline_rows
from scalelab.train.evaluate import BlockChoice
from scalelab.train.trainer import Trainer

__all__ = ["baselines_of", "largest_rows", "resolved_of"]


def resolved_of(trainer: Trainer, step: StepChoice) -> str:
    """JSON: the options of the loss as `step`, the largest one, used them.

    Where that is one of a pre-training, the largest of the training stands for it. To be called
    once the loss has run, since only then it is known by which kernel it runs.
    """
    if step.is_pretraining:
        choices = [choice for choice in largest_steps(trainer) if not choice.is_pretraining]
        step = max(choices, key=lambda choice: choice.shape.num_positions)
    table_VD = cast("Tensor", trainer.parts.model.item_table_VD).detach()
    # One number stands for all of them: nobody reads the hidden states.
    hidden_ND = torch.empty(1, device=table_VD.device).expand(
        step.shape.num_positions, table_VD.shape[1]
    )
    used = trainer.spec.loss.options | options_used(trainer.parts.loss, hidden_ND, table_VD)
    if "kernel" in used:
        used["kernel"] = kernels_used.get(trainer.spec.loss.name, "tiled")
    return json.dumps({"loss": used}, sort_keys=True)


def baselines_of(trainer: Trainer, run: Run) -> tuple[Baseline, ...]:
    """The baselines of a run's data set and protocol."""
    assert run.data_fingerprint is not None
    return baseline_rows(
        trainer.data.interactions,
        trainer.data.split,
        trainer.spec.data,
        data_fingerprint=run.data_fingerprint,
        protocol=run.protocol,
        ks=trainer.spec.evaluate.ks,
    )


def largest_rows(step: StepChoice, block: BlockChoice) -> list[Sample]:
    """Which training step and which block of evaluation the peaks are of.

    Epochs and steps count from 1 as in all of the ledger; the epoch is None where the step is the
    largest possible one instead of one that runs.
    """
    facts = {
        **({"pretraining": 1} if step.is_pretraining else {}),
        "epoch": None if step.epoch is None else step.epoch + 1,
        "step": step.step + 1,
        "rows": step.shape.num_rows,
        "positions": step.shape.num_positions,
        f"{block.split}_block": block.number + 1,
        f"{block.split}_rows": block.shape.num_rows,
    }
    return [
        Sample(at_s=0.0, probe="largest", name=name, value=value, unit="number")
        for name, value in facts.items()
    ]
