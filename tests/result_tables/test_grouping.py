"""Rows and columns of a table: the best of each, in order, and never two that do not compare."""

import pytest

from scalelab.core.errors import SpecError
from scalelab.core.identity import COMPARABLE
from scalelab.result_tables.candidates import Candidate
from scalelab.result_tables.grouping import group


def _one(name, valid, *, loss="bce", items=100, dataset="beauty", num_lost=0, **place):
    settings = {"loss.name": loss, "batch.size": place.pop("size", 32)}
    usual = dict.fromkeys(COMPARABLE, "same") | {"data_fingerprint": f"{dataset}-{items}"} | place
    columns = usual | {
        "dataset": dataset,
        "num_items": items,
        "valid_quality": valid,
        "num_lost": num_lost,
        "peak_bytes": 1,
    }
    return Candidate(
        key=(name,),
        place=tuple(usual[part] for part in COMPARABLE),
        columns=columns,
        settings=settings,
        label=name,
        usual="",
        note="",
        figures={},
    )


def test_the_best_on_validation_stands_for_all_of_its_place():
    found = group(
        [_one("a", 0.1), _one("b", 0.3), _one("c", 0.9, num_lost=1), _one("d", None)],
        ["loss.name"],
        [],
    )
    assert {where: one.key[0] for where, one in found.chosen.items()} == {(("bce",), ()): "b"}
    assert found.numbers == {(("bce",), ()): 4}


def test_data_sets_devices_and_versions_never_share_a_column():
    some = [_one("a", 0.1), _one("b", 0.3, items=900), _one("c", 0.2, device="h100")]
    found = group(some, ["loss.name"], [])
    assert len(found.columns) == len(found.chosen) == 3
    texts = [text for (text,) in found.columns.values()]
    assert texts == [
        "beauty, 100 items, same",
        "beauty, 900 items, same",
        "beauty, 100 items, h100",
    ]
    assert group(some[:1], ["loss.name"], []).columns == {(): ()}


def test_numbers_are_in_order_of_their_size():
    some = [_one(str(size), 0.1, size=size) for size in (1024, 32, 256)]
    found = group(some, ["batch.size"], [])
    assert [text for (text,) in found.rows.values()] == ["32", "256", "1,024"]


def test_a_setting_that_nothing_has_is_refused_with_the_nearest():
    with pytest.raises(SpecError, match="no configuration has a setting") as caught:
        group([_one("a", 0.1)], ["los.name"], [])
    assert "loss.name" in caught.value.hint
