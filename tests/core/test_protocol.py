"""A protocol names all that decides whether two qualities compare, and nothing that is usual."""

import pytest

from scalelab.core.protocol import protocol_of
from scalelab.core.run_sections import DataSpec

USUAL = {"path": "x.csv"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "leave-one-out, seen excluded"),
        ({"test_items": 3}, "leave-one-out, 3 items for test, seen excluded"),
        ({"exclude_seen": False}, "leave-one-out, seen included"),
        ({"targets": "last"}, "leave-one-out, seen excluded"),
        ({"split": "temporal", "quantile": 0.95}, "temporal 0.95, seen excluded"),
        (
            {"split": "global_time", "quantile": 0.9, "targets": "successive"},
            "global time 0.9, targets successive, seen excluded",
        ),
        ({"min_user_count": 5}, "leave-one-out, seen excluded, 5/1-core (users/items)"),
        ({"min_item_count": 5}, "leave-one-out, seen excluded, 1/5-core (users/items)"),
        ({"drop": "exact"}, "leave-one-out, seen excluded, exact repeats dropped"),
        ({"ties": "hash"}, "leave-one-out, seen excluded, ties by hash"),
        ({"max_eval_users": 500}, "leave-one-out, seen excluded, 500 users evaluated"),
    ],
)
def test_what_is_not_usual_is_named(changes, said):
    usual = {"min_item_count": 1, "min_user_count": 1}
    assert protocol_of(DataSpec(**(USUAL | usual | changes))) == said
