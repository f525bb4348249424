"""Ids that look the same are one id or refused, and days of a spreadsheet are dates."""

import numpy as np
import pytest

from scalelab.core.errors import DataError
from scalelab.datasets.request import request

COMPOSED, IN_PARTS = "caf\u00e9", "cafe\u0301"


def read(path, rows, head="user_id,item_id,date"):
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return request(path, None, {}).load()


@pytest.mark.parametrize(
    "blank", ["\u00a0", "\u3000", "\u2009", "\u200b", "\u2060", "\ufeff", " \u00a0 "]
)
def test_blanks_around_an_id_are_none_of_it(tmp_path, blank):
    rows = [
        f"{blank}u1,i1{blank},2020-01-01",
        f"u1{blank},{blank}i1,2020-01-02",
        "u1,i2,2020-01-03",
    ]
    found = read(tmp_path / "a.csv", rows)
    assert (found.num_users, found.num_items) == (1, 2)
    assert found.find_original_ids().tolist() == ["i1", "i2"]
    numbers = [row.replace("u1", "17").replace("i1", "31").replace("i2", "32") for row in rows]
    whole = read(tmp_path / "b.csv", numbers)
    assert whole.find_original_ids().tolist() == [31, 32]


@pytest.mark.parametrize(
    "pair", [(COMPOSED, IN_PARTS), ("ab", "a\u200bb"), ("ab", "a\u00adb"), ("x\ufeffy", "xy")]
)
@pytest.mark.parametrize("what", ["user", "item"])
def test_ids_that_look_the_same_and_differ_are_refused(tmp_path, pair, what):
    rows = [
        f"{one},i{day},2020-01-0{day}" if what == "user" else f"u,{one},2020-01-0{day}"
        for day, one in enumerate(pair, start=1)
    ]
    with pytest.raises(DataError, match=f"1 {what} ids look like another one") as caught:
        read(tmp_path / "a.csv", rows)
    assert caught.value.message.isascii()
    assert 'normalize("NFC")' in caught.value.hint


def test_one_way_of_writing_is_kept_as_it_is(tmp_path):
    rows = [f"u,{IN_PARTS},2020-01-01", "u,\u0645\u06cc\u200c\u062e,2020-01-02"]
    found = read(tmp_path / "a.csv", rows)
    assert set(found.find_original_ids().tolist()) == {IN_PARTS, "\u0645\u06cc\u200c\u062e"}


@pytest.mark.parametrize(
    ("days", "dates"),
    [
        (["44562", "44563"], ["2022-01-01", "2022-01-02"]),
        (["44562.5", "44563.75"], ["2022-01-01T12:00", "2022-01-02T18:00"]),
        (["44562.4321527778", "44563"], ["2022-01-01T10:22:18", "2022-01-02"]),
        (["32874", "49674"], ["1990-01-01", "2035-12-31"]),
    ],
)
def test_days_of_a_spreadsheet_are_dates(tmp_path, days, dates):
    found = read(tmp_path / "a.csv", [f"u,i{n},{day}" for n, day in enumerate(days)])
    assert "spreadsheets" in found.times_read_as
    expected = [np.datetime64(date, "s").astype(int) for date in dates]
    assert found.time_unit == "s"
    assert found.times.tolist() == expected


def test_other_numbers_are_no_days_of_a_spreadsheet(tmp_path):
    for days in (["1", "44562"], ["44562", "49675"], ["0.5", "44562.5"]):
        found = read(tmp_path / "a.csv", [f"u,i{n},{day}" for n, day in enumerate(days)])
        assert "spreadsheets" not in found.times_read_as
