"""Whose peak a row names, and how many negatives a whole batch shares."""

import pytest

from scalelab.batches.steps import StepChoice
from scalelab.core.spec import NegativesSpec
from scalelab.measure.largest import shared_negatives
from scalelab.measure.rows import largest_rows
from scalelab.train.evaluate import BlockChoice


class Shape:
    num_rows, num_positions = 4, 30


def facts(step, block=None):
    block = block or BlockChoice("valid", 0, Shape())
    return {row.name: row.value for row in largest_rows(step, block)}


def test_epochs_steps_and_blocks_count_from_one():
    found = facts(StepChoice(0, 6, Shape()), BlockChoice("test", 2, Shape()))
    assert found == {
        "epoch": 1, "step": 7, "rows": 4, "positions": 30, "test_block": 3, "test_rows": 4
    }  # fmt: skip


def test_the_largest_possible_step_has_no_epoch():
    assert facts(StepChoice(None, 0, Shape()))["epoch"] is None


def test_a_step_of_a_pretraining_says_so():
    assert facts(StepChoice(1, 1, Shape(), is_pretraining=True))["pretraining"] == 1
    assert "pretraining" not in facts(StepChoice(1, 1, Shape()))


@pytest.mark.parametrize(
    ("sources", "shared"),
    [
        ([("batch", 3), ("batch", 5)], 8),
        ([("batch", 3), ("position", 5)], None),
        ([("sequence", 5)], None),
        ([], 0),
    ],
)
def test_negatives_are_shared_only_where_every_source_draws_for_the_batch(sources, shared):
    specs = [
        NegativesSpec(name="uniform", num_negatives=number, per=per) for per, number in sources
    ]
    assert shared_negatives(specs) == shared
