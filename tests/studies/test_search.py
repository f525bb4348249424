"""A search tries each configuration once, avoids what does not fit, and continues a ledger."""

import math

import pytest

from scalelab.core.errors import SpecError
from scalelab.store.ledger import Ledger

pytest.importorskip("optuna", reason="needs the extra `search`")

from scalelab.studies.search import ObjectiveValues, Search

AXES = {"batch.size": [4, 8, 16, 32, 64], "train.epochs": [1, 2, 3, 4]}


def tables(sampler="nsga2", trials=12, **more):
    return {
        "axes": AXES,
        "search": {"sampler": sampler, "trials": trials, "population": 4},
        **more,
    }


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_a_search_tries_as_many_configurations_as_asked_each_once(study, sweep, tmp_path, sampler):
    result = sweep(study(**tables(sampler)))
    assert result.counts == {"done": 12}
    found = Ledger(tmp_path / "fake.duckdb").query("SELECT count(DISTINCT spec) AS n FROM runs")
    assert found.to_pylist() == [{"n": 12}]


def test_a_search_typed_again_runs_nothing_and_a_longer_one_goes_on(study, sweep, observer):
    first = sweep(study(**tables()))
    again = sweep(study(**tables()), observer=observer)
    assert observer.started == []
    assert {c.run_id for c in again.cells} == {c.run_id for c in first.cells}
    longer = sweep(study(**tables(trials=15)), observer=observer)
    assert len(observer.started) == 3
    assert longer.counts == {"done": 15}


def test_a_search_ends_when_nothing_is_left(study, sweep):
    assert sweep(study(**tables(trials=100))).counts == {"done": 20}


def test_configurations_and_axes_are_searched_together(study, sweep, tmp_path):
    configurations = [{"loss.name": "dense_ce"}, {"loss.name": "cross_entropy"}]
    sweep(study(**tables(trials=40, cells=configurations)))
    sql = "SELECT loss, batch_size, count(*) AS n FROM runs GROUP BY ALL"
    found = Ledger(tmp_path / "fake.duckdb").query(sql).to_pylist()
    assert {(row["loss"], row["batch_size"]) for row in found} == {
        (configuration["loss.name"], size)
        for configuration in configurations
        for size in AXES["batch.size"]
    }


def test_what_does_not_finish_is_avoided(study):
    """Half of the configurations run out of memory; the evolved population is of the other half."""
    late_bad = []
    for seed in range(5):
        axes = {"batch.size": list(range(1, 41)), "train.epochs": list(range(1, 11))}
        settings = {"sampler": "nsga2", "trials": 60, "population": 10, "seed": seed}
        search = Search(study(axes=axes, search=settings), {})
        bad = []
        for _ in range(60):
            configuration = search.ask()
            size = configuration.spec.batch.size
            bad.append(size > 20)
            quality = math.sin(size / 20) + configuration.spec.train.epochs / 10
            figures = ObjectiveValues(quality=quality, memory=float(size), time=1.0)
            search.tell(configuration, None if size > 20 else figures)
        late_bad.append(sum(bad[40:]) / 20)
    assert sum(late_bad) / 5 < 0.4, "at random it would be half"


@pytest.mark.parametrize("wrong", [{"repeats": 2}, {"axes": {"batch.size": [8]}}])
def test_a_search_that_makes_no_sense_is_refused(study, sweep, wrong):
    with pytest.raises(SpecError, match=r"\[search\]"):
        sweep(study(**{**tables(), **wrong}))
