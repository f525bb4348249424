"""A run's notes appear from their limit on and only where they apply."""

import json
from dataclasses import fields, replace

import pytest

from scalelab.core.records import Metric, Outcome, Record, Run
from scalelab.core.run_notes import notes_on_run


def record(loss="bce", sources=(), coverage=0.5, users=1000, items=1000, outcome=Outcome.DONE):
    spec = {"loss": {"name": loss}, "negatives": [{"per": per} for per in sources]}
    facts = dict.fromkeys(field.name for field in fields(Run))
    facts |= {"spec": json.dumps(spec), "num_items": items, "outcome": outcome}
    figures = (("coverage", 10, coverage), ("num_users", None, users))
    metrics = [
        Metric(split="test", epoch=1, name=name, k=k, value=value) for name, k, value in figures
    ]
    return Record(run=Run(**facts), metrics=tuple(metrics))


@pytest.mark.parametrize(
    ("loss", "sources", "noted"),
    [
        ("bce", ("batch",), True),
        ("gbce", ("batch", "batch"), True),
        ("bce", ("batch", "position"), False),
        ("bce", ("sequence",), False),
        ("sampled_softmax", ("batch",), False),
        ("cross_entropy", (), False),
    ],
)
def test_one_set_of_negatives_for_all_is_noted_where_each_is_counted_anew(loss, sources, noted):
    notes = notes_on_run(record(loss, sources))
    assert [note.startswith("shared negatives: ") for note in notes] == [True] * noted


@pytest.mark.parametrize(
    ("changes", "noted"),
    [
        ({"coverage": 0.049}, True),
        ({"coverage": 0.05}, False),
        ({"coverage": 0.049, "users": 199}, False),
        ({"coverage": 0.049, "items": 499}, False),
        ({"coverage": 0.049, "outcome": Outcome.FAILED}, False),
    ],
)
def test_one_list_for_everybody_is_noted(changes, noted):
    notes = notes_on_run(record("cross_entropy", **changes))
    assert ["49 different items of 1,000" in note for note in notes] == [True] * noted


@pytest.mark.parametrize(
    ("split", "wanted", "noted"),
    [("temporal", True, True), ("temporal", False, False), ("leave_one_out", True, False)],
)
def test_vectors_of_users_that_no_test_user_has_are_noted(split, wanted, noted):
    made = record("cross_entropy")
    spec = {"data": {"split": split}, "model": {"user_embedding": wanted}}
    notes = notes_on_run(replace(made, run=replace(made.run, spec=json.dumps(spec))))
    assert [note.startswith("unknown users: ") for note in notes] == [True] * noted
