"""What `data describe` shows: each split on one line, times as dates."""

from typing import Any

from scalelab.cli.dataset_tables import (
    SPLIT_COLUMNS,
    facts_without_splits,
    refused_splits,
    split_rows,
)


def targets(number: int) -> dict[str, Any]:
    return {
        "targets": number,
        "seen_before_by_the_user": number + 1,
        "items_never_trained_on": number + 2,
        "share_with_the_time_of_the_item_before": 0.5,
    }


FACTS = {
    "users": 5,
    "times": {"kind": "clock", "first": 8, "last": 9, "unit": "s", "first_date": "1997-09-20"},
    "splits": {
        "leave_one_out": {
            "training_users": 1234,
            "training_interactions": 56,
            "valid": targets(10),
            "test": targets(20),
            "dropped": {},
        },
        "temporal": {"refused": "the order of the file is no time"},
        "global_time": {"refused": "the order of the file is no time"},
        "sessions": {
            "training_users": 1,
            "training_interactions": 2,
            "valid": targets(3),
            "test": targets(4),
            "dropped": {"users": 7},
            "cut_time": 8,
            "cut_date": "1998-04-04",
        },
    },
}


def test_a_split_is_one_line_with_its_test_targets() -> None:
    assert SPLIT_COLUMNS[-2:] == ("seen_before", "never_trained_on")
    assert split_rows(FACTS) == [
        ("leave_one_out", "1,234", "56", "10", "20", "21", "22"),
        ("sessions", "1", "2", "3", "4", "5", "6"),
    ]


def test_a_reason_is_given_once_for_all_splits_that_it_refuses() -> None:
    assert refused_splits(FACTS) == [
        "no split temporal or global_time: the order of the file is no time"
    ]


def test_the_rest_is_listed_and_a_date_replaces_the_raw_time() -> None:
    rest = facts_without_splits(FACTS)
    assert rest["times"] == {"kind": "clock", "first_date": "1997-09-20"}
    assert rest["splits"]["sessions"] == {"dropped": {"users": 7}, "cut_date": "1998-04-04"}
    assert "temporal" not in rest["splits"]
    unknown = {"times": {"kind": "clock", "first": 8, "last": 9}}
    assert facts_without_splits(unknown) == unknown
