"""`data describe` says where in a file user, item and time stand, and how the time is written."""

from pathlib import Path
from typing import Any

import duckdb
import pytest

from scalelab import api

SECONDS = 1_500_000_000


def described(path: Path, text: str, reader: str | None = None, **options: Any) -> dict[str, Any]:
    path.write_text(text, encoding="utf-8")
    return api.data.describe(path, reader=reader, set=options)


def rows(mark: str, *times: object) -> str:
    return "".join(mark.join((f"{n}", f"{n}", f"{time}")) + "\n" for n, time in enumerate(times))


@pytest.mark.parametrize(
    ("times", "read_as", "unit"),
    [
        ((SECONDS, SECONDS + 5), "seconds since 1970", "s"),
        # What is whole seconds throughout is kept in seconds, however it is written.
        ((SECONDS * 1000, SECONDS * 1000 + 5000), "milliseconds since 1970", "s"),
        ((SECONDS * 1000, SECONDS * 1000 + 5), "milliseconds since 1970", "ms"),
        ((7, 8), "numbers of no known unit", ""),
        ((7.25, 8.5), "numbers of no known unit, taken as seconds", "ms"),
        ((20200131, 20200201), "numbers of the format %Y%m%d", "s"),
        (("2020-01-31 10:00", "2020-02-01 10:00"), "text of the format ISO 8601", "s"),
        (("31/01/2020", "01/02/2020"), "text of the format %d/%m/%Y", "s"),
    ],
)
def test_how_times_were_read_is_said(tmp_path: Path, times: tuple, read_as: str, unit: str) -> None:
    found = described(
        tmp_path / "a.csv", "userId,productId,when\n" + rows(",", *times), time="when"
    )
    assert found["columns"] == {"user": "userId", "item": "productId", "time": "when"}
    assert found["times"]["read_as"] == read_as
    assert found["times"].get("unit", "") == unit


def test_a_stated_format_and_a_type_are_said(tmp_path: Path) -> None:
    text = "user,item,ts\n" + rows(",", "31|01|2020", "01|02|2020")
    found = described(tmp_path / "a.csv", text, time_format="%d|%m|%Y")
    assert found["times"]["read_as"] == "text of the format %d|%m|%Y"
    duckdb.sql(
        "COPY (SELECT 1 AS uid, range AS aid, TIMESTAMP '2020-01-01' + to_days(range::INTEGER) "
        f"AS t, range AS ts FROM range(3)) TO '{tmp_path}/a.parquet'"
    )
    found = api.data.describe(tmp_path / "a.parquet", set={"time": "t"})
    assert found["columns"] == {"user": "uid", "item": "aid", "time": "t"}
    assert found["times"]["read_as"] == "values of type TIMESTAMP"


def test_without_a_time_none_is_said(tmp_path: Path) -> None:
    found = described(tmp_path / "a.csv", "user,item\n1,1\n1,2\n")
    assert found["columns"] == {"user": "user", "item": "item"}
    assert found["times"] == {"kind": "none", "order": "that of the file"}


@pytest.mark.parametrize(
    ("name", "reader", "text", "columns", "options"),
    [
        ("a.csv", None, rows(",", 1, 2), ("column 2", "column 1", "column 3"),
         {"header": False, "user": 2, "item": 1, "time": 3}),
        ("a.inter", None, "u:token\titem_id:token\tat:float\n" + rows("\t", 1, 2),
         ("u", "item_id", "at"), {"user": "u", "time": "at"}),
        ("a.dat", None, "1::2::5::7\n1::3::5::8\n", ("column 1", "column 2", "column 4"), {}),
        ("ratings.csv", "movielens", "userId,movieId,rating,timestamp\n1,2,5,7\n1,3,5,8\n",
         ("userId", "movieId", "timestamp"), {}),
        ("a.txt", "lines", "1 2 5 1600000070\n1 3 5 1600000080\n",
         ("word 1", "word 2", "word 4"), {}),
        ("a.txt", "lines", "1 2 70 5\n1 3 80 5\n", ("word 1", "word 2", "word 3"), {"time": 3}),
        ("a.txt", "sequences", "1 2 3\n2 3 4\n", ("word 1", "words from 2 on"), {}),
        ("a.txt", "sequences", "2 3\n3 4\n", ("line", "words from 1 on"), {"has_user": False}),
        ("a.dat", "sessions", "1,2014-04-07T10:51:09.277Z,2,0\n1,2014-04-07T10:52:09.277Z,3,0\n",
         ("column 1", "column 3", "column 2"), {}),
        ("a.jsonl", "sessions", '{"session": 1, "events": [{"aid": 1, "ts": 7, "type": "x"}]}\n',
         ("session", "events.aid", "events.ts"), {}),
        ("a.csv", "sessions",
         "sessionId;userId;itemId;timeframe;eventdate\n1;NA;2;5;2016-05-09\n",
         ("sessionId", "itemId", "eventdate + timeframe"), {}),
    ],
)  # fmt: skip
def test_every_reader_says_where_it_reads(
    tmp_path: Path, name: str, reader: str | None, text: str, columns: tuple, options: dict
) -> None:
    found = described(tmp_path / name, text, reader, **options)
    assert tuple(found["columns"].values()) == columns
    assert list(found["columns"]) == ["user", "item", "time"][: len(columns)]
