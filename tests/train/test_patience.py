"""Patience waits until a model has left the popularity list, and goes on after a resume."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from scalelab.core import verdicts
from scalelab.core.spec import RunSpec
from scalelab.train import checkpoint
from scalelab.train.assemble import assemble
from scalelab.train.trainer import Fit, Trainer

Small = Callable[..., RunSpec]
POPULARITY = 0.1
# Two updates per epoch of the small run with few users: what it learns does not matter here.
UPDATES = 2


def scripted(spec: RunSpec, values: list[float], monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """A run whose validations give `values` in turn, the first again once they are used up."""
    trainer = assemble(spec)
    trainer.popularity = POPULARITY
    left: Iterator[float] = iter(values)
    monkeypatch.setattr(trainer, "evaluate", lambda split: {"ndcg@10": next(left)})
    return trainer


@pytest.fixture
def spec(small: Small) -> RunSpec:
    return small({"train.epochs": 12, "train.patience": 2, "data.num_users": 60})


def test_a_plateau_at_the_popularity_list_does_not_end_training(
    spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [0.1, 0.11, 0.1, 0.1, 0.1, 0.1, 0.2, 0.3, 0.3, 0.3]
    fit = scripted(spec, values, monkeypatch).fit()
    assert (fit.stopped, fit.epoch, fit.best_epoch) == ("patience", 10, 8)


def test_once_above_it_patience_counts_though_later_values_fall_below(
    spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = scripted(spec, [0.1, 0.1101, 0.05, 0.05, 0.9], monkeypatch).fit()
    assert (fit.stopped, fit.epoch, fit.best_epoch) == ("patience", 4, 2)


def test_a_tenth_above_is_not_yet_above(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = scripted(spec, [0.11] * 12, monkeypatch).fit()
    assert (fit.stopped, fit.epoch) == ("epochs", 12)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_after_many_updates_patience_counts_all_the_same(
    spec: RunSpec, monkeypatch: pytest.MonkeyPatch, accumulate: int
) -> None:
    monkeypatch.setattr(verdicts, "_LONGEST_PLATEAU", 3 * UPDATES)
    spec = spec.with_({"train.accumulate": accumulate})
    fit = scripted(spec, [0.1, *[0.05] * 11], monkeypatch).fit()
    # The first validation that counts is after three epochs of updates, of one or two steps each.
    first = 3 * accumulate
    assert (fit.stopped, fit.epoch) == ("patience", first + 1)
    assert fit.updates == (first + 1) * UPDATES // accumulate


@pytest.mark.parametrize("after", range(1, 6))
@pytest.mark.parametrize(
    "values",
    [
        [0.3, 0.2, 0.4, 0.3, 0.35, 0.9],
        [0.1, 0.05, 0.3, 0.05, 0.05, 0.9],
        [0.3, 0.05, 0.05, 0.9, 0.9, 0.9],
    ],
    ids=["better once", "from the plateau", "at once"],
)
def test_patience_is_kept_on_resume(
    spec: RunSpec,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    values: list[float],
    after: int,
) -> None:
    undisturbed = scripted(spec, values, monkeypatch).fit()
    assert undisturbed.stopped == "patience"
    if after >= undisturbed.epoch:
        pytest.skip("patience ends it before")
    asked = iter([False] * (after - 1) + [True])
    first = scripted(spec, values, monkeypatch).fit(stop=lambda: next(asked), keep=tmp_path)
    assert (first.stopped, first.epoch) == ("request", after)
    fit = scripted(spec, values[after:], monkeypatch).fit(keep=tmp_path)
    assert replace(fit, history=[]) == replace(undisturbed, history=[])
    assert fit.history == undisturbed.history


@pytest.mark.parametrize(("ema", "written"), [(0.0, [1, 2]), (0.9, [1, 2, 3])])
def test_weights_that_are_in_the_model_at_the_end_are_not_written(
    small: Small, monkeypatch: pytest.MonkeyPatch, ema: float, written: list[int]
) -> None:
    """16 GB of a large table took most of a short run. An average is not what the model holds."""
    spec = small({"train.epochs": 3, "data.num_users": 60, "train.ema_decay": ema})
    saved: list[int] = []
    save = checkpoint.save_best

    def noted(folder: Path, model: nn.Module, epoch: int) -> None:
        saved.append(epoch)
        save(folder, model, epoch)

    monkeypatch.setattr(checkpoint, "save_best", noted)
    fit = scripted(spec, [0.2, 0.3, 0.4], monkeypatch).fit()
    assert (fit.best_epoch, saved) == (3, written)


def test_all_but_the_reason_of_the_stop_is_kept(spec: RunSpec, tmp_path: Path) -> None:
    fit = Fit(
        epoch=3,
        steps=30,
        updates=15,
        best_epoch=2,
        best_metric=0.5,
        patience_counts=True,
        without_better=1,
        stopped="request",
        pretraining=[(1, {"mip": 0.7})],
        history=[(1, {"ndcg@10": 0.1}), (2, {"ndcg@10": 0.5})],
        spent_s={"train": 1.0, "evaluate": 2.0},
        epoch_ends=[(1, 0.7, 1.0), (2, 0.6, 2.0)],
    )
    trainer = assemble(spec)
    trainer.step(trainer.loader.batch(0, 0), 1, 0)
    (tmp_path / "best-2.safetensors").write_bytes(b"")
    trainer._keep_if_due(fit, tmp_path, lambda: False)
    found = Fit()
    trainer._resume(found, tmp_path)
    assert found == replace(fit, stopped=None)


def test_the_popularity_list_of_a_run_is_that_of_its_protocol(small: Small) -> None:
    """A model that scores by how often items occur in training gets the very same NDCG@10."""
    import numpy as np
    import torch

    for exclude_seen in (True, False):
        trainer = assemble(small({"data.exclude_seen": exclude_seen, "data.max_eval_users": 100}))
        train = trainer.data.split.train
        items = np.concatenate([train[user] for user in range(len(train))])
        counts = np.bincount(items, minlength=trainer.parts.num_items + 1)

        class Popularity(torch.nn.Module):
            def __init__(self, counts: np.ndarray) -> None:
                super().__init__()
                self.table = torch.nn.Parameter(torch.from_numpy(counts)[:, None].float())

            @property
            def item_table_VD(self) -> torch.Tensor:
                return self.table

            def forward(self, inputs: object) -> torch.Tensor:
                return torch.ones(*inputs.item_ids_BL.shape, 1)

        found = trainer.evaluator(Popularity(counts), trainer.data.split.valid, 100)
        assert trainer.popularity == pytest.approx(found["ndcg@10"], abs=1e-12)
