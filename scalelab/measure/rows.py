"""Make the rows of a run's baselines."""

from scalelab.core.records import Baseline, Run
from scalelab.datasets.baselines import baseline_rows
from scalelab.train.trainer import Trainer

__all__ = ["baselines_of"]


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
