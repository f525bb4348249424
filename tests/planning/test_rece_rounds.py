"""RECE is planned from three rounds at most: bytes and operations are those of all rounds."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC2701

from scalelab.batches.batch import BatchShape
from scalelab.core.spec import RunSpec
from scalelab.losses import _rece_tiles, tile_repeats  # noqa: PLC2701
from scalelab.losses._rece import earlier_rounds, round_numbers  # noqa: PLC2701
from scalelab.planning.cost import Cost
from scalelab.planning.cublas import workspaces_for
from scalelab.planning.devices import load_device
from scalelab.planning.fake_tensor_run import FakeTensorRun
from scalelab.planning.limits import target_for
from scalelab.planning.memory_kinds import MemoryKinds, memory_kinds

Small = Callable[[dict[str, Any]], RunSpec]
SHAPE = BatchShape(num_rows=40, max_len=40, num_sequences=96, num_positions=1500)

# Windows in one tile, in several, chunks of one position, neighbours that leave one chunk.
SETTINGS: list[dict[str, Any]] = [
    {},
    {"loss.n_buckets": 60, "loss.n_extra_chunks": 0},
    {"loss.n_buckets": 3, "loss.n_extra_chunks": 1, "data.num_items": 60_000},
    {"loss.n_buckets": 7, "loss.n_chunks": 1400, "loss.n_extra_chunks": 3},
    {"loss.n_buckets": 16, "model.name": "gru4rec", "batch.packer": "pad_left"},
    {"loss.n_buckets": 9, "model.name": "hstu", "train.precision": "bf16"},
    {"loss.n_buckets": 4, "loss.n_extra_chunks": 9},
]


class Planned(NamedTuple):
    """What planning reads of a step."""

    kinds: MemoryKinds
    operations: Counter[tuple[Any, ...]]


def planned(spec: RunSpec, device: str) -> Planned:
    profile = load_device(device)
    cublas = workspaces_for(profile)
    run = FakeTensorRun(
        spec,
        int(spec.data.options["num_items"]),
        target=target_for(profile),
        workspaces=cublas,
    )
    cost = Cost()
    account = run.train(SHAPE, 10, cost)
    held = memory_kinds(account, profile, profile.memory_bytes, kept=list(cublas.noted))
    operations: Counter[tuple[Any, ...]] = Counter()
    for *piece, times in cost.pieces:
        operations[tuple(piece)] += times
    return Planned(held.kinds, +operations)


def all_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round is run, as on real tensors."""
    monkeypatch.setattr(_rece_tiles, "round_numbers", lambda number, _: range(number))
    monkeypatch.setattr(_rece_tiles, "earlier_rounds", lambda round_number, *_: range(round_number))


def check(spec: RunSpec, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    few = planned(spec, device)
    all_rounds(monkeypatch)
    every = planned(spec, device)
    assert few.kinds == every.kinds
    assert few.operations == every.operations


@pytest.mark.parametrize("device", ["cpu", pytest.param("h100", marks=pytest.mark.slow)])
def test_a_plan_is_that_of_every_round(
    small: Small, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(small({"loss.name": "rece", "loss.rounds": 6}), device, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "h100"])
@pytest.mark.parametrize("rounds", [1, 2, 3, 4, 5, 8, 12])
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_a_plan_is_that_of_every_round_whatever_the_setting(
    small: Small,
    setting: dict[str, Any],
    rounds: int,
    device: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if device != "cpu" and setting.get("model.name") == "gru4rec":
        pytest.skip("its layers are not predicted for a GPU")
    spec = small({"loss.name": "rece", "loss.rounds": rounds} | setting)
    check(spec, device, monkeypatch)


def walked(number: int, around: int) -> Iterator[tuple[int, int, int]]:
    """Each pair of a round and an earlier one, with what it stands for; -1 is the round itself."""
    like = torch.empty(2)
    for each in round_numbers(number, like):
        yield each, -1, tile_repeats.get()
        for earlier in earlier_rounds(each, number, like):
            yield each, earlier, tile_repeats.get()
    assert tile_repeats.get() == around


@pytest.mark.parametrize("number", range(1, 13))
@pytest.mark.parametrize("around", [0, 1, 5])
def test_rounds_stand_for_all_pairs(number: int, around: int) -> None:
    token = tile_repeats.set(around)
    try:
        assert len(list(walked(number, around))) == number * (number + 1) // 2
        with FakeTensorMode():
            found = list(walked(number, around))
    finally:
        tile_repeats.reset(token)
    assert len(found) <= 6
    own = sum(times for _, earlier, times in found if earlier < 0)
    pairs = sum(times for _, earlier, times in found if earlier >= 0)
    assert (own, pairs) == (around * number, around * number * (number - 1) // 2)
