"""[halving]: which configurations go on, what it refuses, and that it resumes."""

import os
import signal

import pytest
from sweeping_fakes import quality
from sweeping_helpers import RecordingObserver, hooks

from scalelab.core.errors import SpecError
from scalelab.core.study import StudySpec
from scalelab.store.ledger import Ledger
from scalelab.sweeping.within_hours import seconds_used, sweep_within

SIZES = [1, 2, 4, 8, 16, 32, 64]
ROUNDS = {"epochs": [1, 2, 4], "factor": 3}


def ran(path):
    """Batch size and epochs of every run that is done."""
    rows = Ledger(path).query("SELECT batch_size, epochs FROM runs WHERE outcome = 'done'")
    return sorted((row["epochs"], row["batch_size"]) for row in rows.to_pylist())


def best(study, number):
    """The batch sizes with the best quality of the fakes."""
    spec = _base(study)
    by_quality = sorted(SIZES, key=lambda size: -quality(spec.with_({"batch.size": size}), epoch=1))
    return sorted(by_quality[:number])


def _base(study):
    from scalelab.core.spec import RunSpec

    return RunSpec.load(study.base)


def expected(study):
    return sorted(
        [(1, size) for size in SIZES]
        + [(2, size) for size in best(study, 3)]
        + [(4, size) for size in best(study, 2)]
    )


@pytest.fixture
def halved(study):
    return study(axes={"batch.size": SIZES}, halving=ROUNDS)


@pytest.mark.slow
def test_the_best_of_each_round_train_for_longer(halved, sweep, tmp_path):
    result = sweep(halved)
    assert ran(tmp_path / "fake.duckdb") == expected(halved)
    assert result.counts == {"done": 12}
    labels = [planned.label for planned in result.cells]
    assert len(set(labels)) == len(labels)  # two runs never share a text


class StopsAt(RecordingObserver):
    """Ctrl-C when that run starts."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def on_run_start(self, run_id):
        super().on_run_start(run_id)
        if len(self.started) == self.number:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [7, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 9, 11))]
)
def test_interrupted_in_any_round_it_goes_on_where_it_was(halved, sweep, tmp_path, number):
    stopped = sweep(halved, observer=StopsAt(number))
    assert stopped.interrupted
    assert len(ran(tmp_path / "fake.duckdb")) < 12
    observer = RecordingObserver()
    again = sweep(halved, observer=observer)
    assert not again.interrupted
    assert ran(tmp_path / "fake.duckdb") == expected(halved)
    assert len(observer.started) < 12


@pytest.mark.slow
def test_a_configuration_that_fails_goes_no_further(study, sweep, tmp_path):
    asked = study(axes={"batch.size": [8, 16, 32, 64]}, halving={"epochs": [1, 2]})
    sweep(asked, hooks=hooks(run="sweeping_fakes:small_ones_die"))
    found = ran(tmp_path / "fake.duckdb")
    assert 8 not in {size for _, size in found}
    assert sum(epochs == 2 for epochs, _ in found) == 2


@pytest.mark.slow
def test_seeds_go_on_together(study, sweep, tmp_path):
    sweep(study(axes={"batch.size": SIZES}, halving={"epochs": [1, 2]}, repeats=2))
    second = [size for epochs, size in ran(tmp_path / "fake.duckdb") if epochs == 2]
    assert len(second) == 6
    assert all(second.count(size) == 2 for size in second)


def test_a_dry_run_shows_the_first_round(halved, sweep, observer):
    result = sweep(halved, dry_run=True, observer=observer)
    assert len(result.cells) == len(SIZES)
    assert all("epochs=1" in planned.label for planned in result.cells)
    assert observer.messages == ["this is round 1 of 3"]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"axes": {"train.epochs": [1, 2]}}, "sets train.epochs"),
        ({"cells": [{"train.epochs": 1}]}, "sets train.epochs"),
        ({"axes": {"batch.size": [1, 2]}, "search": {"trials": 2}}, "both choose"),
    ],
)
def test_what_contradicts_halving_is_refused(study, sweep, tables, message):
    with pytest.raises(SpecError, match=message) as caught:
        sweep(study(halving={"epochs": [1, 2]}, **tables))
    assert caught.value.hint


@pytest.mark.parametrize("halving", [{"epochs": [2, 1]}, {"epochs": [3]}, {"epochs": [1, 1]}])
def test_rounds_must_rise(tmp_path, halving):
    file = tmp_path / "study.toml"
    file.write_text(
        f'base = "sasrec-synthetic"\n[halving]\nepochs = {halving["epochs"]}\n', encoding="utf-8"
    )
    with pytest.raises(SpecError, match="epochs"):
        StudySpec.load(file)


@pytest.mark.parametrize(("number", "kept"), [(1, 1), (2, 2), (3, 2), (7, 3), (9, 3), (14, 5)])
def test_at_least_two_are_kept(study, number, kept):
    assert study(halving=ROUNDS).halving.num_kept(number) == kept


@pytest.mark.slow
def test_hours_count_over_all_calls(study, tmp_path, monkeypatch):
    """What the first call has used is not there for the second."""
    study(axes={"batch.size": SIZES}, halving=ROUNDS)  # writes base.toml
    file = tmp_path / "fake.toml"
    file.write_text(
        f'base = "base.toml"\n[halving]\nepochs = [1, 2, 4]\n[axes]\n"batch.size" = {SIZES}\n',
        encoding="utf-8",
    )
    options = {"hooks": hooks(), "executor": "inline"}
    ledger = tmp_path / "hours.duckdb"
    first = StopsAt(4)
    assert sweep_within(file, ledger, hours=1.0, observer=first, **options).interrupted
    used = seconds_used(StudySpec.load(file), ledger)
    assert used > 0
    second = RecordingObserver()
    sweep_within(file, ledger, hours=used / 3600 / 2, observer=second, **options)
    assert second.started == []
    assert any("used up" in message for message in second.messages)
    done = sweep_within(file, ledger, hours=1.0, **options)
    assert done.counts == {"done": 12}
