"""[final]: which configurations get more seeds, and what it refuses."""

from dataclasses import replace

import pytest
from sweeping_fakes import finished_record

from scalelab.core.errors import SpecError
from scalelab.core.limits import Limits
from scalelab.core.records import Metric, Outcome
from scalelab.core.spec import RunSpec
from scalelab.core.study import FinalSpec
from scalelab.store.ledger import Ledger
from scalelab.studies.grid import Configuration, repeat_of
from scalelab.sweeping.final_seeds import best_configurations, value_at
from scalelab.workers.task import Task, utc_now

FINAL = FinalSpec(seeds=3, by="valid_ndcg_10", per="loss.name")


def configuration(loss, size, seed=0):
    changes = {"loss.name": loss, "batch.size": size, "device.name": "cpu"}
    made = Configuration(spec=RunSpec.load("sasrec-synthetic", changes), label=f"{loss} {size}")
    return repeat_of(made, seed) if seed else made


@pytest.fixture
def chosen(tmp_path):
    """Store runs as (configuration, quality or None, outcome), and choose among them."""

    def choose(*runs, final=FINAL):
        ledger = Ledger.create_or_open(tmp_path / "final.duckdb")
        fingerprints, records = {}, []
        for index, (each, quality, *outcome) in enumerate(runs):
            fingerprint = f"f{index}"
            fingerprints[fingerprint] = each
            task = Task(
                run_id=fingerprint,
                study_id=None,
                fingerprint=fingerprint,
                data_fingerprint="d",
                attempt=1,
                spec=each.spec,
                limits=Limits(),
            )
            metric = Metric(split="valid", epoch=1, name="ndcg", k=10, value=quality or 0.0)
            metrics = [] if quality is None else [metric]
            made = finished_record(
                task, outcome[0] if outcome else Outcome.DONE, utc_now(), metrics, 1
            )
            records.append(replace(made, run=replace(made.run, best_epoch=1)))
        ledger.append(records)
        found = best_configurations(final, fingerprints, ledger)
        return [(c.spec.loss.name, c.spec.batch.size, c.spec.train.seed) for c in found]

    return choose


def test_the_best_of_each_loss_comes_with_all_seeds_first_seeds_first(chosen):
    found = chosen(
        (configuration("dense_ce", 8), 0.2),
        (configuration("dense_ce", 16), 0.3),
        (configuration("cross_entropy", 8), 0.1),
        (configuration("cross_entropy", 16), 0.05),
    )
    assert found == [
        (loss, size, seed)
        for seed in range(3)
        for loss, size in (("dense_ce", 16), ("cross_entropy", 8))
    ]


def test_the_mean_over_seeds_decides_and_not_the_best_seed(chosen):
    found = chosen(
        (configuration("dense_ce", 8), 0.5),
        (configuration("dense_ce", 8, seed=1), 0.1),
        (configuration("dense_ce", 16), 0.4),
        (configuration("dense_ce", 16, seed=1), 0.4),
    )
    assert {(loss, size) for loss, size, _ in found} == {("dense_ce", 16)}


def test_of_equals_the_first_in_the_study_is_taken(chosen):
    found = chosen((configuration("dense_ce", 8), 0.3), (configuration("dense_ce", 16), 0.3))
    assert {size for _, size, _ in found} == {8}


def test_runs_that_are_not_done_are_not_chosen(chosen):
    found = chosen(
        (configuration("dense_ce", 8), 0.9, Outcome.DIVERGED),
        (configuration("dense_ce", 16), 0.2),
        (configuration("dense_ce", 32), None),
    )
    assert {size for _, size, _ in found} == {16}


def test_per_may_be_any_field_of_the_run():
    spec = configuration("dense_ce", 8)
    assert value_at(spec, "batch.size") == 8
    with pytest.raises(SpecError, match=r"per = 'loss.x' is not a field of the run"):
        value_at(spec, "loss.x")
