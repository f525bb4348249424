"""The median rule: which runs it compares, when it begins, and what a tie means."""

from types import SimpleNamespace

import pytest

from scalelab.core.records import Metric, Outcome
from scalelab.sweeping.median_rule import MedianRule


def job(data="d", protocol="p"):
    evaluate = SimpleNamespace(metric="ndcg@10")
    train = SimpleNamespace(accumulate=1)
    spec = SimpleNamespace(protocol=protocol, train=train, evaluate=evaluate)
    return SimpleNamespace(
        data_fingerprint=data, configuration=SimpleNamespace(spec=spec, label="")
    )


def record(curve, outcome=Outcome.DONE):
    """A finished run; `curve` is its validation NDCG@10 by epoch."""
    metrics = [
        Metric(split="valid", epoch=epoch, name="ndcg", k=10, value=value)
        for epoch, value in curve.items()
    ]
    # Neither of these is what runs are compared by.
    metrics += [
        Metric(split="test", epoch=9, name="ndcg", k=10, value=9.0),
        Metric(split="valid", epoch=9, name="recall", k=10, value=9.0),
    ]
    return SimpleNamespace(run=SimpleNamespace(outcome=outcome), metrics=metrics)


def progress(best, epoch=3, run_id="r"):
    facts = {"run_id": run_id, "epoch": epoch, "best_metric": best}
    return SimpleNamespace(**facts, num_steps=1, popularity=None)


def rule_of(*finals, data="d", protocol="p"):
    rule = MedianRule()
    for final in finals:
        rule.record(job(data, protocol), record({1: 0.0, 3: final}))
    return rule


@pytest.mark.parametrize(
    ("best", "pruned"), [(0.24, True), (0.25, False), (0.26, False)], ids=["below", "tie", "above"]
)
def test_a_run_at_the_median_goes_on(best, pruned):
    rule = rule_of(0.1, 0.2, 0.3, 0.4)
    reason = rule.should_prune(job(), progress(best))
    assert (reason is not None) is pruned
    if pruned:
        assert reason == "0.2400 at epoch 3 is below 0.2500, the median of 4 runs"


def test_equal_runs_never_prune_one_another():
    rule = rule_of(0.2, 0.2, 0.2, 0.2, 0.2)
    assert rule.should_prune(job(), progress(0.2)) is None


def test_it_waits_for_four_runs_and_the_third_epoch():
    assert rule_of(0.3, 0.3, 0.3).should_prune(job(), progress(0.0)) is None
    rule = rule_of(0.3, 0.3, 0.3, 0.3)
    assert rule.should_prune(job(), progress(0.0, epoch=2)) is None
    assert rule.should_prune(job(), progress(None)) is None
    assert rule.should_prune(job(), progress(0.0, epoch=3)) is not None


def test_a_run_gets_its_reason_once():
    rule = rule_of(0.3, 0.3, 0.3, 0.3)
    assert rule.should_prune(job(), progress(0.0)) is not None
    assert rule.should_prune(job(), progress(0.0)) is None
    assert rule.should_prune(job(), progress(0.0, run_id="other")) is not None


def test_only_done_runs_of_the_same_data_and_protocol_count():
    for other in (rule_of(*[0.3] * 4, data="e"), rule_of(*[0.3] * 4, protocol="q")):
        assert other.should_prune(job(), progress(0.0)) is None
    rule = rule_of(0.3, 0.3, 0.3)
    rule.record(job(), record({1: 0.3, 3: 0.3}, Outcome.PRUNED))
    assert rule.should_prune(job(), progress(0.0)) is None


def test_a_run_counts_with_its_best_so_far_and_not_with_its_end():
    rule = MedianRule()
    for _ in range(4):
        rule.record(job(), record({1: 0.1, 2: 0.3, 3: 0.2, 4: 0.9}))
    assert rule.should_prune(job(), progress(0.29, epoch=3)) is not None
    assert rule.should_prune(job(), progress(0.3, epoch=3)) is None
    # Validated for the first time after this epoch: nothing to compare with.
    late = MedianRule()
    for _ in range(4):
        late.record(job(), record({5: 0.9}))
    assert late.should_prune(job(), progress(0.0, epoch=4)) is None
