"""Which quality and which peak stand for a run."""

import math

import pytest

from scalelab.core.figures import peak_of, quality_curve, quality_of
from scalelab.core.memory_kinds import limited_kind, peak_kind
from scalelab.core.records import Memory, Metric


def metric(epoch, value, split="valid", name="ndcg", k=10):
    return Metric(split=split, epoch=epoch, name=name, k=k, value=value)


@pytest.mark.parametrize(
    ("metrics", "best_epoch", "split", "wanted"),
    [
        # The weights of epoch 2 were kept, though epoch 3 is better by this metric.
        ([metric(1, 0.1), metric(2, 0.2), metric(3, 0.3)], 2, "valid", 0.2),
        ([metric(1, 0.1), metric(2, 0.3), metric(3, 0.2)], None, "valid", 0.3),
        # Nothing is chosen on test.
        ([metric(1, 0.9, "test"), metric(3, 0.1, "test")], None, "test", 0.1),
        ([metric(1, 0.1), metric(2, math.nan)], None, "valid", 0.1),
        (
            [metric(1, 0.1, k=20), metric(1, 0.2, name="hr"), metric(1, 0.3, "train")],
            1,
            "valid",
            None,
        ),
        ([], None, "valid", None),
    ],
)
def test_the_quality_is_that_of_the_epoch_that_was_kept(metrics, best_epoch, split, wanted):
    assert quality_of(metrics, best_epoch, split) == wanted


def test_a_curve_has_finite_values_of_one_metric_by_epoch():
    metrics = [metric(1, 0.1), metric(2, math.inf), metric(2, 0.5, "test"), metric(3, 0.3)]
    assert quality_curve(metrics) == {1: 0.1, 3: 0.3}


def test_kinds_of_memory_by_device():
    assert [peak_kind(name) for name in ("cpu", "cuda", "cuda:1")] == [
        "requested",
        "allocated",
        "allocated",
    ]
    assert [limited_kind(name) for name in ("cpu", "cuda", "cuda:1")] == [
        "requested",
        "reserved",
        "reserved",
    ]


def test_a_peak_that_could_not_be_read_is_not_replaced():
    def fact(kind, size, source="measured", component="total"):
        reason = None if size is not None else "no CUDA"
        return Memory(
            stage="train", kind=kind, component=component, bytes=size, reason=reason, source=source
        )

    memory = [
        fact("requested", 5),
        fact("allocated", None),
        fact("allocated", 9, "predicted"),
        fact("requested", 7, component="batch"),
    ]
    assert peak_of(memory, "train", "requested") == 5
    assert peak_of(memory, "train", "allocated") is None
    assert peak_of(memory, "train", "allocated", "predicted") == 9
    assert peak_of(memory, "eval", "requested") is None
