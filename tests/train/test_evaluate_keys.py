"""The section evaluate, several targets per user and sessions, from the spec to the record."""

import numpy as np
import pytest

from scalelab.core.errors import SpecError
from scalelab.core.spec import RunSpec
from scalelab.findings.user_ranks import gains_of_users
from scalelab.measure.session import run
from scalelab.planning.predict import predict
from scalelab.train.assemble import assemble

SESSIONS = {"data.split": "sessions", "data.cut": 0.7, "data.exclude_seen": False}


@pytest.mark.parametrize(
    ("changes", "ks", "metric"),
    [
        ({}, (1, 5, 10, 20), "ndcg@10"),
        ({"evaluate.k": [20, 3]}, (3, 10, 20), "ndcg@10"),
        ({"evaluate.k": 50}, (10, 50), "ndcg@10"),
        ({"evaluate.k": [5], "evaluate.metric": "mrr@20"}, (5, 10, 20), "mrr@20"),
    ],
)
def test_lists_are_as_long_as_asked_for_and_as_what_chooses_needs(small, changes, ks, metric):
    spec = small(changes)
    assert (spec.evaluate.ks, spec.evaluate.metric) == (ks, metric)
    found = assemble(spec).evaluate("valid")
    assert {key for key in found if "@" in key} == {
        f"{name}@{k}" for name in ("ndcg", "hr", "recall", "mrr", "coverage") for k in ks
    }


def test_a_run_that_names_no_metric_keeps_its_fingerprint(small):
    sections = small().as_sections()
    assert "evaluate" not in sections
    assert "targets" not in sections["data"]
    other = small({"evaluate.metric": "hr@10"})
    assert other.fingerprint("d") != small().fingerprint("d")
    assert RunSpec.build(other.as_sections()) == other


@pytest.mark.parametrize("metric", ["ndcg", "precision@10", "hr@0", "mrr@x", "coverage@10"])
def test_what_is_not_a_metric_is_refused_with_those_there_are(small, metric):
    with pytest.raises(SpecError, match="ndcg, hr, recall, mrr"):
        small({"evaluate.metric": metric})


@pytest.mark.parametrize(
    ("changes", "protocol"),
    [
        ({}, "sessions 0.7, seen included"),
        ({"data.targets": "last"}, "sessions 0.7, targets last, seen included"),
        ({"data.targets": "successive"}, "sessions 0.7, seen included"),
        ({"data.valid_cut": 250}, "sessions 0.7 to 250, seen included"),
    ],
)
def test_targets_belong_to_the_protocol(small, changes, protocol):
    assert small({**SESSIONS, **changes}).protocol == protocol


class ThreeEpochs:
    """Gives the trainer these validation figures, epoch after epoch."""

    def __init__(self, figures):
        self.figures = iter(figures)

    def ranked(self, *_args, **_named):
        return next(self.figures), None


def test_the_metric_that_a_run_names_chooses_its_epoch(small):
    # By NDCG@10 the first epoch is best, by MRR@20 the second.
    figures = [
        {"ndcg@10": 0.9, "mrr@20": 0.1},
        {"ndcg@10": 0.1, "mrr@20": 0.5},
        {"ndcg@10": 0.5, "mrr@20": 0.3},
    ]
    best = {}
    for metric in ("ndcg@10", "mrr@20"):
        trainer = assemble(small({"evaluate.metric": metric}))
        trainer.evaluator = ThreeEpochs(figures)
        best[metric] = trainer.fit().best_epoch
    assert best == {"ndcg@10": 1, "mrr@20": 2}


@pytest.mark.slow
@pytest.mark.parametrize("targets", ["last", "successive", "all"])
def test_several_targets_per_user_are_predicted_measured_and_stored(small, targets):
    spec = small({**SESSIONS, "data.targets": targets, "train.epochs": 1, "evaluate.k": [1, 30]})
    record = run(spec, run_id="r", baselines=True, strict=True)
    assert record.run.outcome == "done"
    measured = {(m.stage, m.component): m.bytes for m in record.memory if m.kind == "requested"}
    predicted = predict(spec)
    assert predicted.memory["requested"]["total"] == measured["train", "total"]
    assert predicted.evaluation["requested"]["total"] == measured["eval", "total"]
    assert abs(record.run.account_error or 0.0) <= 0.001
    found = {(m.name, m.k): m.value for m in record.metrics if m.split == "test"}
    several = targets != "last"
    assert (found["num_targets", None] > found["num_users", None]) == several
    kept = record.user_ranks
    assert kept is not None
    assert (kept.num_targets is not None) == several
    assert kept.one_list == (targets == "all")
    ranks, number = np.array(kept.ranks), kept.num_targets and np.array(kept.num_targets)
    assert len(ranks) == found["num_targets", None]
    for name in ("hr", "recall", "ndcg", "mrr"):
        own = gains_of_users(ranks, number, kept.one_list, f"{name}@30")
        assert len(own.sums) == found["num_users", None]
        lists = len(own.sums) if own.num_lists is None else own.num_lists.sum()
        # Where scores are equal a rank is drawn, and the metric has the mean over all.
        assert own.sums.sum() / lists == pytest.approx(found[name, 30], abs=1e-9), name
    assert {b.k for b in record.baselines} == {1, 10, 30}
    if targets == "all":
        assert found["recall", 30] < found["hr", 30]
    else:
        assert found["recall", 30] == found["hr", 30]


def test_a_list_that_is_to_find_several_targets_is_one_list(small):
    """Against a plain loop: all scores of a history are sorted, and every target looked for."""
    spec = small({**SESSIONS, "data.targets": "all", "data.exclude_seen": True})
    trainer = assemble(spec)
    test = trainer.data.split.test
    found, _ = trainer.ranked("test")
    evaluator = trainer.evaluator
    trainer.data.split.test.evaluated()
    sums, number = dict.fromkeys(("hr", "recall", "ndcg", "mrr"), 0.0), 0
    # The rank of each target alone, by the evaluator that other tests hold against plain loops.
    alone = type(test)(
        histories=test.histories,
        targets=test.targets,
        users=np.arange(len(test), dtype=np.int32),
        num_repeated=test.num_repeated,
    )
    _, ranks = evaluator.ranked(trainer.parts.model.eval(), alone)
    for user in np.unique(test.users):
        own = ranks.ranks[test.users == user]
        hits = sorted(int(rank) for rank in own if 0 < rank <= 10)
        sums["hr"] += bool(hits)
        sums["recall"] += len(hits) / len(own)
        ideal = sum(1 / np.log2(1 + r) for r in range(1, min(10, len(own)) + 1))
        sums["ndcg"] += sum(1 / np.log2(1 + r) for r in hits) / ideal
        sums["mrr"] += 1 / hits[0] if hits else 0.0
        number += 1
    assert number == found["num_users"] < len(test)
    for name, value in sums.items():
        assert found[f"{name}@10"] == pytest.approx(value / number, abs=1e-9), name
