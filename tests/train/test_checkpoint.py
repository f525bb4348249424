"""A checkpoint is whole and on the disk, or it is none."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from scalelab.core.events import Observer
from scalelab.core.spec import RunSpec
from scalelab.train import checkpoint
from scalelab.train.assemble import assemble
from scalelab.train.trainer import Trainer

Small = Callable[..., RunSpec]


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in trainer.parts.model.state_dict().items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(left[key], right[key]) for key in left)


def kept(spec: RunSpec, folder: Path) -> dict[str, Path]:
    """A checkpoint after the second epoch: its files by what they hold."""
    epochs: list[int] = []
    assemble(spec).fit(stop=lambda: epochs.append(0) or len(epochs) == 2, keep=folder)
    return {path.name.partition("-")[0].partition(".")[0]: path for path in folder.iterdir()}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a bit flipped": flip,
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "gone": lambda path: path.unlink(),
}


class Undisturbed(NamedTuple):
    """A run of three epochs, its checkpoint after the second one by file, and how it ends."""

    spec: RunSpec
    files: dict[str, Path]
    history: object
    weights: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def undisturbed(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    spec = small({"train.epochs": 3})
    trainer = assemble(spec)
    history = trainer.fit().history
    files = kept(spec, tmp_path_factory.mktemp("kept"))
    return Undisturbed(spec, files, history, weights(trainer))


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("what", ["weights", "optimizer", "best", "facts"])
def test_a_damaged_checkpoint_means_starting_anew(
    undisturbed: Undisturbed,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    what: str,
    damage: str,
) -> None:
    for path in undisturbed.files.values():
        shutil.copy(path, tmp_path)
    DAMAGE[damage](tmp_path / undisturbed.files[what].name)
    trained: list[int] = []

    class Count(Observer):
        def on_epoch_end(self, epoch: int, loss: float, metrics: dict[str, float]) -> None:
            trained.append(epoch)

    trainer = assemble(undisturbed.spec)
    with trainer.observed_by([Count()]), caplog.at_level(logging.WARNING):
        fit = trainer.fit(keep=tmp_path)
    assert trained == [1, 2, 3]
    assert fit.history == undisturbed.history
    assert same(weights(trainer), undisturbed.weights)
    said = [record.getMessage() for record in caplog.records]
    missing = (what, damage) == ("facts", "gone")
    assert [("damaged; starting anew" in line) for line in said] == ([] if missing else [True])


@pytest.mark.slow
def test_a_crash_after_a_better_epoch_leaves_the_checkpoint_whole(
    small: Small, tmp_path: Path
) -> None:
    spec = small({"train.epochs": 5})
    undisturbed = assemble(spec)
    expected = undisturbed.fit()
    best = [epoch for epoch, _ in expected.history]
    values = [metrics["ndcg@10"] for _, metrics in expected.history]
    better = [e for e, v in zip(best, values, strict=True) if v > max([-1.0, *values[: e - 1]])]
    assert better[:3] == [1, 2, 3], "each of these epochs keeps its weights"

    class Crash(Observer):
        def on_epoch_end(self, epoch: int, loss: float, metrics: dict[str, float]) -> None:
            if epoch == 3:
                raise RuntimeError

    crashing, ended = assemble(spec), iter([True])
    with crashing.observed_by([Crash()]), pytest.raises(RuntimeError):
        crashing.fit(keep=tmp_path, keep_when=lambda: next(ended, False))
    resumed = assemble(spec)
    trained: list[int] = []

    class Count(Observer):
        def on_epoch_end(self, epoch: int, loss: float, metrics: dict[str, float]) -> None:
            trained.append(epoch)

    with resumed.observed_by([Count()]):
        fit = resumed.fit(keep=tmp_path)
    assert trained == [2, 3, 4, 5]
    assert fit.history == expected.history
    assert same(weights(resumed), weights(undisturbed))


def test_only_the_weights_that_are_needed_are_kept(small: Small, tmp_path: Path) -> None:
    assemble(small({"train.epochs": 6})).fit(keep=tmp_path, keep_when=lambda: True)
    assert len(list(tmp_path.glob("best-*"))) <= 2
    assert not list(tmp_path.glob("*.part"))


def test_all_is_on_the_disk_before_the_facts_name_it(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def moved(source: Path, target: Path) -> None:
        done.append(f"to {target.name}")
        replace(source, target)

    trainer = assemble(small({"train.epochs": 2}))
    monkeypatch.setattr(checkpoint.os, "fsync", synced)
    monkeypatch.setattr(checkpoint.os, "replace", moved)
    trainer.fit(stop=lambda: True, keep=tmp_path)
    at = done.index("to facts.json")
    files = {path.name for path in tmp_path.iterdir()} - {"facts.json"}
    assert files | {"facts.json.part", tmp_path.name} <= set(done[:at])
    assert tmp_path.name in done[at:], "the new name itself is on the disk"
