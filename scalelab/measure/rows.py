"""Record what a run's loss really used, and the baselines of its data."""

import json
from typing import cast

from torch import Tensor

from scalelab.core.records import Baseline, Run
from scalelab.datasets.baselines import baseline_rows
from scalelab.losses import options_used
from scalelab.losses.kernels.choice import kernels_used
from scalelab.measure.passes import EPOCH
from scalelab.train.trainer import Trainer

__all__ = ["baselines_of", "resolved_of"]


def resolved_of(trainer: Trainer) -> str:
    """JSON: the options of the loss as the largest step of the memory passes used them.

    To be called once the loss has run, since only then it is known by which kernel it runs.
    """
    table_VD = cast("Tensor", trainer.parts.model.item_table_VD).detach()
    shape = trainer.loader.shape(EPOCH, trainer.loader.largest_step(EPOCH))
    # One number stands for all of them: nobody reads the hidden states.
    hidden_ND = table_VD.new_empty(1).expand(shape.num_positions, table_VD.shape[1])
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
    )
