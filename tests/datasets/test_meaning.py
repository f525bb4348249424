"""Files are read as they are meant: ids, times and forms, decided from all values."""

import datetime
import gzip
import json
import os
import subprocess
import sys
import time

import duckdb
import numpy as np
import pytest

from scalelab.core.errors import DataError
from scalelab.core.spec import DataSpec
from scalelab.datasets.load import fingerprint, load

LATE = 20_600  # beyond the values that DuckDB samples


def csv_of(path, header, rows):
    path.write_text(header + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    return path


def items_of(tmp_path, ids, **options):
    path = csv_of(tmp_path / "ids.csv", "user,item", [("u", i) for i in ids])
    return load(DataSpec(path=str(path), **options))


def times_of(tmp_path, times, **options):
    path = tmp_path / "times.csv"
    path.write_text("user,item,ts\n" + "".join(f'u,{n},"{t}"\n' for n, t in enumerate(times)))
    found = load(DataSpec(path=str(path), **options))
    assert found.times is not None
    return found.times.tolist(), found.time_unit, (found.item_ids - 1).tolist()


@pytest.mark.parametrize(
    ("ids", "read"),
    [
        ([2, 1, 3], [2, 1, 3]),
        (["3.0", "1.0", "2.0"], [3, 1, 2]),
        ([1000, "01000", "001000", 1000], [1, 2, 3, 1]),
        ([-5, 7, -5], [1, 2, 1]),
        ([9223372036854775808, 9223372036854775807, 9223372036854775808], [1, 2, 1]),
        (["1e5", "a", "100000"], [1, 2, 3]),
        (["+1", "1", "+1"], [1, 2, 1]),
        ([*range(1, LATE), "x1", "x2", 1], [*range(1, LATE + 2), 1]),
        ([*range(1, LATE), "0001"], list(range(1, LATE + 1))),
        ([-1, "-1.0", 3], [1, 1, 2]),
    ],
)
def test_an_id_is_a_number_only_where_all_are_written_so(tmp_path, ids, read):
    assert items_of(tmp_path, ids).item_ids.tolist() == read


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["1", "2.5"], "1 item ids are NaN or not whole numbers, the first is '2.5' in row 2"),
        ([*range(LATE), "0.5"], f"'0.5' in row {LATE + 1}"),
        (["9007199254740993.0", "9007199254740992.0"], "not whole"),
        (["1.6e+18", "1.7e+18"], "not whole"),
        (["1", "NaN"], "1 of 2 rows have no item, the first is row 2"),
        (["a", "None"], "1 of 2 rows have no item"),
    ],
)
def test_ids_that_were_numbers_of_another_kind_are_refused(tmp_path, ids, message):
    with pytest.raises(DataError, match=message):
        items_of(tmp_path, ids)


def write_parquet(path, select):
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
    return path


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ("(1::DOUBLE), (0::DOUBLE)", [2, 1]),
        ("(-3::BIGINT), (4), (-3)", [1, 2, 1]),
        ("('007'), ('7'), ('007')", [1, 2, 1]),
        ("('1'), ('0'), ('2')", [2, 1, 3]),
        ("(18446744073709551615::UBIGINT), (1), (18446744073709551615)", [1, 2, 1]),
        ("(2.00::DECIMAL(8,2)), (1), (2)", [2, 1, 2]),
        ("([3, 1]), ([2])", [3, 1, 2]),
        ("(['a', 'b']), (['a'])", [1, 2, 1]),
    ],
)
def test_ids_of_parquet_are_those_of_text(tmp_path, values, read):
    path = tmp_path / "rows.parquet"
    write_parquet(path, f"SELECT 'u' AS user, i AS item FROM (VALUES {values}) t(i)")
    assert load(DataSpec(path=str(path))).item_ids.tolist() == read


@pytest.mark.parametrize(
    "value", ["9007199254740992::DOUBLE", "1.5::FLOAT", "16777216::FLOAT", "{'a': 1}", "MAP {1: 2}"]
)
def test_what_is_no_id_in_parquet_is_refused(tmp_path, value):
    path = write_parquet(tmp_path / "rows.parquet", f"SELECT 1 AS user, {value} AS item")
    with pytest.raises(DataError, match=r"floats of|not whole|not ids"):
        load(DataSpec(path=str(path)))


def test_a_number_and_its_text_are_one_item_in_json(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [(7, 1), ("7", 2), (8, 3), ("08", 4)]
    path.write_text("".join(json.dumps({"user": 1, "item": i, "ts": t}) + "\n" for i, t in rows))
    assert load(DataSpec(path=str(path))).item_ids.tolist() == [1, 1, 2, 3]


def test_a_list_of_items_is_a_session_in_its_order(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"session": "b", "item": [5, "x", 5]}, {"session": "a", "item": ["x"]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = load(DataSpec(path=str(path)))
    assert (found.item_ids.tolist(), found.offsets.tolist()) == ([1, 2, 1, 2], [0, 3, 4])
    path.write_text('{"user": 1, "item": [5, 6], "ts": [9, 4]}\n')
    assert load(DataSpec(path=str(path))).item_ids.tolist() == [2, 1]
    path.write_text('{"user": 1, "item": [5, 6], "ts": [9]}\n')
    with pytest.raises(DataError, match="not as long"):
        load(DataSpec(path=str(path)))


def utc(*parts):
    return int(datetime.datetime(*parts, tzinfo=datetime.UTC).timestamp())


@pytest.mark.parametrize(
    ("times", "read", "unit"),
    [
        (["1600000000", "1600000000.25"], [1600000000000, 1600000000250], "ms"),
        (
            ["1600000000.000000001", "1600000000"],
            [1600000000 * 10**9, 1600000000 * 10**9 + 1],
            "ns",
        ),
        (["1600000000123456789", "1600000000123456788.0"], None, "ns"),
        (["1600000000000", "1600000001000"], [1600000000, 1600000001], "s"),
        (["1.6e9", "1600000001"], [1600000000, 1600000001], "s"),
        (["20200131", "20200201"], [utc(2020, 1, 31), utc(2020, 2, 1)], "s"),
        (["2020-01-01", "2020-01-01 10:00:00"], [utc(2020, 1, 1), utc(2020, 1, 1, 10)], "s"),
        (["2020-01-01", "2020-01-01 10"], [utc(2020, 1, 1), utc(2020, 1, 1, 10)], "s"),
        (
            ["2020-01-01 00:00:00.123456789", "2020-01-01T00:00:01"],
            [utc(2020, 1, 1) * 10**9 + 123456789, utc(2020, 1, 1, 0, 0, 1) * 10**9],
            "ns",
        ),
        (
            ["2020-06-01T10:00:00+02:00", "2020-06-01T09:30:00Z", "2020-06-01 12:00 Europe/Berlin"],
            [utc(2020, 6, 1, 8), utc(2020, 6, 1, 9, 30), utc(2020, 6, 1, 10)],
            "s",
        ),
        (
            ["2020-06-01 12:00+02:00", "2020-06-01 10:00:00 +0130", "2020-06-01 10:00 GMT"],
            [utc(2020, 6, 1, 8, 30), utc(2020, 6, 1, 10), utc(2020, 6, 1, 10)],
            "s",
        ),
        (["Tue Apr 03 18:00:09 +0000 2012"], [utc(2012, 4, 3, 18, 0, 9)], "s"),
        (["Wed Mar 22 11:37:04 -0700 2017"], [utc(2017, 3, 22, 18, 37, 4)], "s"),
        (["01 30, 2014", "02 1, 2014"], [utc(2014, 1, 30), utc(2014, 2, 1)], "s"),
        (["Jan 30, 2014", "February 1, 2014"], [utc(2014, 1, 30), utc(2014, 2, 1)], "s"),
        (["9/2/23", "9/13/23"], [utc(2023, 9, 2), utc(2023, 9, 13)], "s"),
        (["2/9/2023 10:30", "13/9/2023 1:00"], [utc(2023, 9, 2, 10, 30), utc(2023, 9, 13, 1)], "s"),
        (["1/13/2023 03:04:05 PM"], [utc(2023, 1, 13, 15, 4, 5)], "s"),
        (["31.12.2022", "01.02.2023"], [utc(2022, 12, 31), utc(2023, 2, 1)], "s"),
        (["Tue, 03 Apr 2012 18:00:09 GMT"], [utc(2012, 4, 3, 18, 0, 9)], "s"),
        ([*["2020-01-01"] * LATE, "2020-01-01 00:00:00.5"], None, "ms"),
    ],
)
def test_nothing_of_a_time_is_lost(tmp_path, times, read, unit):
    found, found_unit, order = times_of(tmp_path, times)
    assert found_unit == unit
    if read is not None:
        assert found == sorted(read)
    elif unit == "ns":
        assert found == [1600000000123456788, 1600000000123456789]
        assert order == [1, 0]
    else:
        assert found[-1] - found[0] == 500


@pytest.mark.parametrize(
    ("times", "message", "hint"),
    [
        (
            ["9/2/23", "10/3/23"],
            "'9/2/23' can be 2023-02-09 or 2023-09-02",
            'time_format = "%d/%m/',
        ),
        (["01-02-2020"], "can be 2020-02-01 or 2020-01-02", '"%m-%d-%Y"'),
        (["1.2.2020 10:00"], "can be", "data.time_format"),
        (["1600000000", "None", "1600000001"], "1 times cannot be read, the first is 'None'", ""),
        (["2020-01-01", "2020-02-31", "2020-01-02"], "1 times .* '2020-02-31' in row 2", ""),
        (["2020-06-01 10:00:00 CST"], "all times cannot be read", "data.time_format"),
        (["soon", "later"], "all times cannot be read, the first is 'soon'", "data.time_format"),
        (["0.12345678901234567"], "finer than a nanosecond", "order"),
        (["1600000000", "inf"], "1 times cannot be read, the first is 'inf'", ""),
    ],
)
def test_a_time_that_cannot_be_read_is_shown(tmp_path, times, message, hint):
    with pytest.raises(DataError, match=message) as caught:
        times_of(tmp_path, times)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("form", "times", "read"),
    [
        ("%d/%m/%y", ["9/2/23", "10/3/23"], [utc(2023, 2, 9), utc(2023, 3, 10)]),
        ("%m/%d/%y", ["9/2/23", "10/3/23"], [utc(2023, 9, 2), utc(2023, 10, 3)]),
        ("%Y%m%d%H", ["2020010110", "2020010111"], [utc(2020, 1, 1, 10), utc(2020, 1, 1, 11)]),
        ("%Hh%M %d.%m.%Y", ["10h30 01.02.2020"], [utc(2020, 2, 1, 10, 30)]),
    ],
)
def test_a_form_can_be_stated(tmp_path, form, times, read):
    assert times_of(tmp_path, times, time_format=form)[0] == read


ROWS = [
    (u, f"i{(u * 3 + k) % 7}", 1600000000 + u * 100 + 7 * k) for u in range(6) for k in range(5)
]


def same_content(tmp_path):
    """One content in many forms: (reader, path)."""
    text = "user,item,timestamp\n" + "".join(f"{u},{i},{t}\n" for u, i, t in ROWS)
    (tmp_path / "a.csv").write_text(text)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "c.tsv").write_text(text.replace(",", "\t"))
    (tmp_path / "d.jsonl").write_text(
        "".join(json.dumps({"user": u, "item": i, "timestamp": t}) + "\n" for u, i, t in ROWS)
    )
    header = "user_id:token\titem_id:token\ttimestamp:float\n"
    (tmp_path / "e.inter").write_text(header + text.partition("\n")[2].replace(",", "\t"))
    (tmp_path / "f.dat").write_text("".join(f"{u}::{i}::5::{t}\n" for u, i, t in ROWS))
    (tmp_path / "g.txt").write_text("".join(f"{u} {i} {t}\n" for u, i, t in ROWS))
    (tmp_path / "h.csv").write_bytes(text.encode("utf-16"))
    (tmp_path / "i.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    iso = [(u, i, datetime.datetime.fromtimestamp(t, datetime.UTC)) for u, i, t in ROWS]
    lines = "".join(f"{u};{i};{t:%Y-%m-%dT%H:%M:%SZ}\n" for u, i, t in iso)
    (tmp_path / "j.csv").write_text("user;item;timestamp\n" + lines)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE TABLE t (n INT, u VARCHAR, i VARCHAR, t BIGINT)")
        connection.executemany(
            "INSERT INTO t VALUES (?, ?, ?, ?)", [(n, *row) for n, row in enumerate(ROWS)]
        )
        for name, user, stamp in (
            ("k", "u", "t"),
            ("l", "u::INT", "to_timestamp(t)"),
            ("m", "u::DOUBLE", "to_timestamp(t)::TIMESTAMP"),
            ("n", "u::UTINYINT", "t * 1000"),
            ("o", "u", "t::DOUBLE"),
            ("p", "u", "make_timestamp_ns(t * 1000000000)"),
        ):
            path = tmp_path / f"{name}.parquet"
            connection.execute(
                f"COPY (SELECT {user} AS user, i AS item, {stamp} AS timestamp FROM t ORDER BY n) "
                f"TO '{path}' (FORMAT parquet)"
            )
    readers = {"e.inter": "recbole", "f.dat": "movielens", "g.txt": "lines"}
    return [
        (readers.get(path.name, "table"), path)
        for path in sorted(tmp_path.iterdir())
        if path.suffix != ".md"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_one_content_is_one_data_set_in_every_form_and_zone(tmp_path, monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        read = {
            path.name: load(DataSpec(reader=reader, path=str(path)))
            for reader, path in same_content(tmp_path)
        }
    finally:
        monkeypatch.undo()
        time.tzset()
    first = read["a.csv"]
    assert len(read) == 16
    assert first.times is not None
    assert first.times[0] == 1600000000
    for name, other in read.items():
        np.testing.assert_array_equal(other.item_ids, first.item_ids, err_msg=name)
        np.testing.assert_array_equal(other.times, first.times, err_msg=name)
        assert (name, other.time_unit, other.fingerprint) == (name, "s", first.fingerprint)


def test_a_fingerprint_is_of_ids_times_and_order_and_nothing_else(tmp_path):
    def of(rows, header="user,item,ts,rating"):
        return fingerprint(DataSpec(path=str(csv_of(tmp_path / "rows.csv", header, rows))))

    rows = [(1, 5, 10, 3), (1, 6, 20, 4), (2, 5, 10, 5)]
    first = of(rows)
    assert of([(*row[:3], 1) for row in rows]) == first
    assert of(rows, "uid,iid,timestamp,x") == first
    changed = [
        of(rows[::-1]),
        of([(1, 6, 10, 3), *rows[1:]]),
        of([(1, 5, 11, 3), *rows[1:]]),
        of([("01", 5, 10, 3), *rows[1:]]),
        of([(1, 5, "10.5", 3), *rows[1:]]),
        of(rows[:2]),
    ]
    assert len({first, *changed}) == 7


def test_ids_are_told_apart_in_a_fingerprint_wherever_one_ends(tmp_path):
    prints = {
        fingerprint(DataSpec(path=str(csv_of(tmp_path / f"{n}.csv", "user,item", rows))))
        for n, rows in enumerate(
            ([("u", "ab"), ("u", "c")], [("u", "a"), ("u", "bc")], [("u", "abc")])
        )
    }
    assert len(prints) == 3


@pytest.mark.slow
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])
def test_the_zone_of_the_machine_decides_nothing(tmp_path, zone):
    # A zone is read when a process starts; these hours do not exist, or exist twice, somewhere.
    hours = ["2020-10-25 00:30:00", "2020-10-25 01:30:00", "2020-03-29 02:30:00+00:00"]
    path = csv_of(tmp_path / "rows.csv", "user,item,ts", [("u", n, h) for n, h in enumerate(hours)])
    code = (
        "from scalelab.core.spec import DataSpec; from scalelab.datasets.load import load; "
        f"print(load(DataSpec(path={str(path)!r})).times.tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TZ": zone},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [utc(2020, 3, 29, 2, 30), utc(2020, 10, 25, 0, 30), utc(2020, 10, 25, 1, 30)]
    assert json.loads(done.stdout) == expected


def test_a_file_that_changed_is_read_again(tmp_path):
    path = csv_of(tmp_path / "rows.csv", "user,item,ts", [(1, 5, 10)])
    before = fingerprint(DataSpec(path=str(path)))
    csv_of(path, "user,item,ts", [(1, 5, 11)])
    os.utime(path, ns=(1, 1))
    assert fingerprint(DataSpec(path=str(path))) != before


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252"])
def test_text_in_another_encoding(tmp_path, encoding):
    path = tmp_path / "rows.csv"
    path.write_bytes("user,item,ts\nJosé,für,1\nJosé,a,2\n".encode(encoding))
    found = load(DataSpec(path=str(path), encoding=encoding))
    assert found.offsets.tolist() == [0, 2]
    if encoding != "utf-16":  # its mark tells
        with pytest.raises(DataError, match=r"(?i)unicode|utf-8") as caught:
            load(DataSpec(path=str(path)))
        assert "data.encoding" in caught.value.hint
    with pytest.raises(DataError, match="latin-11"):
        load(DataSpec(path=str(path), encoding="latin-11"))


TIME_NAMES = ("last_watch_dt", "event_time", "time_stamp", "t_dat", "utcTimestamp", "date_added")


@pytest.mark.parametrize("name", TIME_NAMES)
def test_usual_names_of_a_time_are_taken(tmp_path, name):
    rows = [("u", "a", "2021-05-02"), ("u", "b", "2021-05-01")]
    found = load(DataSpec(path=str(csv_of(tmp_path / "rows.csv", f"user,item,{name}", rows))))
    assert found.item_ids.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("moment", ["2021-05-02", "2021-05-01"]),
        ("when", ["1600000001", "1600000000"]),
        ("at", ["1600000001000", "1600000000000"]),
        ("q", ["Tue Apr 03 18:00:09 +0000 2012", "Tue Apr 03 18:00:08 +0000 2012"]),
        ("playtime", ["3", "4"]),
    ],
)
def test_a_column_that_could_be_a_time_is_never_passed_over(tmp_path, name, values):
    rows = [("u", item, value, 4) for item, value in zip("ab", values, strict=True)]
    path = str(csv_of(tmp_path / "rows.csv", f"user,item,{name},weight", rows))
    with pytest.raises(DataError, match=f"one could be: '{name}'$"):
        load(DataSpec(path=path))
    in_file_order = load(DataSpec(path=path, time="order"))
    assert (in_file_order.item_ids.tolist(), in_file_order.times) == ([1, 2], None)
    named = load(DataSpec(path=path, time=name))
    assert named.item_ids.tolist() == ([1, 2] if name == "playtime" else [2, 1])


def test_columns_by_place_where_there_is_no_header(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("b,7,5.0,1600000001\nb,8,4.0,1600000000\n")
    with pytest.raises(DataError, match="seems not to be a header") as caught:
        load(DataSpec(path=str(path)))
    assert "data.header = false" in caught.value.hint
    with pytest.raises(DataError, match="its item needs a place") as caught:
        load(DataSpec(path=str(path), header=False, user=1))
    assert caught.value.hint == "set data.item to a place from 1 to 4"
    found = load(DataSpec(path=str(path), header=False, user=1, item=2, time=4))
    assert found.item_ids.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,item,ts\na,b,1\nuser,item,ts\na,c,2\n", "repeat the header, the first is row 2"),
        ("user,item,ts\na,b,1\na,c,2,3\n", "Line: 3.*a,c,2,3"),
        ("user,item,ts\na,b,1\na,c\n", "Line: 3"),
    ],
)
def test_files_put_together_name_the_line(tmp_path, text, message):
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load(DataSpec(path=str(tmp_path / "rows.csv")))


@pytest.mark.parametrize("place", ["parts", "parts/*.csv", "user=me", "a[1]*", "rows[1].csv"])
def test_parts_and_names_that_look_like_patterns(tmp_path, place):
    if place == "rows[1].csv":
        csv_of(tmp_path / place, "user,item,ts", [(1, 5, 1), (1, 6, 2), (1, 4, 3)])
        csv_of(tmp_path / "rows1.csv", "user,item,ts", [(9, 9, 9)])
    else:
        folder = tmp_path / place.removesuffix("/*.csv")
        folder.mkdir()
        csv_of(folder / "part-0.csv", "user,item,ts", [(1, 5, 1), (1, 6, 2)])
        csv_of(folder / "part-1.csv", "user,item,ts", [(1, 4, 3)])
        (folder / "_SUCCESS").touch()
    found = load(DataSpec(path=str(tmp_path / place)))
    assert (found.num_users, found.item_ids.tolist()) == (1, [1, 2, 3])


def test_parts_must_agree(tmp_path):
    csv_of(tmp_path / "0.csv", "user,item,ts", [(1, 5, 1)])
    csv_of(tmp_path / "1.csv", "item,user,ts", [(1, 5, 1)])
    with pytest.raises(DataError, match="does not begin with the header of the first"):
        load(DataSpec(path=str(tmp_path)))
    (tmp_path / "2.jsonl").write_text("{}")
    with pytest.raises(DataError, match=r"several formats: \.csv, \.jsonl"):
        load(DataSpec(path=str(tmp_path)))


@pytest.mark.parametrize(
    ("text", "reader", "read"),
    [
        ("1 5\n1 6\n2 5\n", "lines", [1, 2, 1]),
        ("1\t5\t1600000020\n1\t6\t1600000010\n2\t5\t1600000001\n", "lines", [2, 1, 1]),
        ("1 5 4.0 20200102\n1 6 3.0 20200101\n", "lines", [2, 1]),
        ("1 5 6 7\n2 5\n", "sequences", [1, 2, 3, 1]),
        ("1 5 6\n2 6 5\n", "sequences", [1, 2, 2, 1]),
        ("\ufeff1 5\n1 6\n2 5\n", "lines", [1, 2, 1]),
        ("u1 a\r\nu1 b\r\nu2 a\r\n", "lines", [1, 2, 1]),
        ("user1 item5\nuser1 item7\nuser2 item5\n", "lines", [1, 2, 1]),
    ],
)
def test_a_text_file_is_lines_of_interactions_or_of_users(tmp_path, text, reader, read):
    from scalelab.datasets.request import request

    for name, content in (("r.txt", text.encode()), ("z.txt.gz", gzip.compress(text.encode()))):
        (tmp_path / name).write_bytes(content)
        spec = request(tmp_path / name, None, {}).spec
        assert spec.reader == reader
        assert load(spec).item_ids.tolist() == read


@pytest.mark.parametrize(
    ("name", "text", "message", "stated", "read"),
    [
        ("a.txt", "user item\n1 5\n1 6\n", "seems to be a header", None, None),
        ("b.txt", "userId movieId ts\nu1 a 20\nu1 b 19\n", "seems to be a header", None, None),
        ("c.txt", "u i\n1 5\n1 6\n", "seems to be a header", None, None),
        ("d.txt", "1 5 4\n1 6 3\n2 5 5\n", "may be a rating", "order", [1, 2, 1]),
        ("e.txt", "1 5 4.5\n1 6 0.5\n2 5 5\n", "may be a rating", 3, [2, 1, 1]),
        ("f.txt", "1 5 1600000000 4\n1 6 1500000000 3\n", "may be a rating", 3, [2, 1]),
        ("g.dat", "1,2014-04-07T10:51:09.277Z,2145,0\n", "items would be dates", None, None),
    ],
)
def test_what_a_line_holds_is_never_guessed(tmp_path, name, text, message, stated, read):
    from scalelab.datasets.request import request

    reader = "movielens" if name.endswith(".dat") else "lines"
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        request(tmp_path / name, reader, {}).load()
    if stated is not None:
        found = request(tmp_path / name, reader, {"time": stated}).load()
        assert found.item_ids.tolist() == read


def test_a_file_of_one_line_is_data_unless_it_has_the_usual_names(tmp_path):
    from scalelab.datasets.request import request

    (tmp_path / "one.txt").write_text("alice book\n")
    assert request(tmp_path / "one.txt", "lines", {}).load().item_ids.tolist() == [1]
    (tmp_path / "one.txt").write_text("user item\n")
    with pytest.raises(DataError, match="seems to be a header"):
        request(tmp_path / "one.txt", "lines", {}).load()


@pytest.mark.parametrize(
    "line", ["{'user': 'u1', 'item': \"it's\", 'ts': 3}", "{u'user': 1}", "{'user': None}"]
)
def test_python_literals_are_called_so(tmp_path, line):
    (tmp_path / "rows.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match="Python literals, not JSON"):
        load(DataSpec(path=str(tmp_path / "rows.jsonl")))


def test_conditions_see_numbers_and_ids_stay_text(tmp_path):
    rows = [("a", "01", 4.5, 3), ("a", "02", 3.5, 2), ("a", "03", 4.0, 1)]
    path = str(csv_of(tmp_path / "rows.csv", "user,item,rating,ts", rows))
    assert load(DataSpec(path=path, where="rating >= 4")).item_ids.tolist() == [2, 1]
    lines = "".join(
        json.dumps(dict(zip("user item rating ts".split(), r, strict=True))) + "\n" for r in rows
    )
    (tmp_path / "rows.jsonl").write_text(lines)
    found = load(DataSpec(path=str(tmp_path / "rows.jsonl"), where="rating >= 4 AND ts > 1"))
    assert found.item_ids.tolist() == [1]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", 'user\titem\tts\n1\t"abc\t3\n1\tx"\t2\n', "hold a line break"),
        ("a.jsonl", '{"user": 1, "item": {"id": 5}, "ts": 2}\n', "objects or lists, not ids"),
        (
            "b.jsonl",
            '{"user": 1, "item": 5, "ts": 2}\n{"user": [2], "item": 6, "ts": 1}\n',
            "objects or lists, not ids",
        ),
        ("c.jsonl", '{"user": 1, "item": 5, "ts": 1600000000.123456789}\n', "more than 17 digits"),
        ("b.csv", "user,item,ts\n1,2,1600000000000\n1,3,1600000001\n", "in s and in ms"),
        ("c.csv", "user,item,user,ts\n1,2,3,4\n", "several columns called 'user'"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        load(DataSpec(path=str(tmp_path / name)))


@pytest.mark.parametrize("form", ["a.csv", "a.inter"])
@pytest.mark.parametrize(
    "where",
    [
        "1 = 1); COPY (SELECT 1) TO 'evil.csv'; SELECT (1",
        "1 = 1)) t; COPY (SELECT 1) TO 'evil.csv'; SELECT * FROM ((SELECT 1",
        "1 = 1; COPY (SELECT 1) TO 'evil.csv'",
        "1 = 1) UNION ALL SELECT x FROM read_csv('../secret.csv') WHERE (1 = 1",
        "1 = 1) GROUP BY (1",
        "1 = 1) LIMIT (1",
        "1 = (SELECT count(*) FROM read_text('../secret.csv'))",
        "EXISTS (FROM '../secret.csv')",
        "1 = 1 /*",
        "1 = 1) --",
    ],
)
def test_a_condition_is_one_expression(tmp_path, monkeypatch, form, where):
    (tmp_path / "secret.csv").write_text("x\n1\n")
    tmp_path = tmp_path / "inside"
    tmp_path.mkdir()
    monkeypatch.chdir(tmp_path)
    if form == "a.csv":
        csv_of(tmp_path / form, "user,item,ts", [(1, 2, 3)])
    else:
        header = "user_id:token\titem_id:token\ttimestamp:float"
        (tmp_path / form).write_text(f"{header}\n1\t2\t3\n")
    reader = "table" if form == "a.csv" else "recbole"
    with pytest.raises(DataError, match=r"not a single condition|a query of its own"):
        load(DataSpec(reader=reader, path=form, where=where))
    assert os.listdir(tmp_path) == [form]


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("rating >= 4", 2),
        ("rating BETWEEN 1 AND 4 AND NOT (rating = 2)", 2),
        ("rating IN (1, 5) -- the extremes", 2),
        ("list_contains([1, 2], rating)", 2),
        ("(rating = 1) OR (rating = 2)", 2),
        ("CASE WHEN rating > 1 THEN item <> '9' ELSE false END", 2),
    ],
)
def test_conditions_that_people_write_are_taken(tmp_path, where, kept):
    rows = [(u, u + 6, u, rating) for u, rating in enumerate([1, 2, 4, 5])]
    path = csv_of(tmp_path / "a.csv", "user,item,ts,rating", rows)
    assert load(DataSpec(path=str(path), where=where)).num_interactions == kept


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('../secret.csv')",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM glob('*')",
        "COPY (SELECT 1) TO 'evil.csv'",
        "ATTACH 'evil.duckdb'",
        "SET enable_external_access = true",
        "SET allowed_paths = ['../secret.csv']",
        "SET lock_configuration = false",
        "INSTALL httpfs",
    ],
)
def test_the_connection_opens_the_file_alone_and_keeps_its_settings(
    tmp_path, monkeypatch, statement
):
    from scalelab.datasets.readers._connection import workspace  # noqa: PLC2701

    (tmp_path / "secret.csv").write_text("x\n1\n")
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    path = csv_of(tmp_path / "inside" / "a.csv", "user,item", [(1, 2)])
    with workspace(path, [path]) as connection:
        assert connection.execute(f"SELECT * FROM read_csv('{path}')").fetchall() == [(1, 2)]
    with pytest.raises(DataError), workspace(path, [path]) as connection:
        connection.execute(statement).fetchall()
    assert os.listdir(tmp_path / "inside") == ["a.csv"]


def test_quotation_marks_can_be_text(tmp_path):
    (tmp_path / "a.tsv").write_text('user\titem\tts\n1\t"abc\t3\n1\tx"\t2\n')
    found = load(DataSpec(path=str(tmp_path / "a.tsv"), quote=""))
    assert found.find_original_ids is not None
    assert found.find_original_ids().tolist() == ['"abc', 'x"']
    assert found.item_ids.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("header", "rows", "offsets"),
    [
        ("session_id,user_id,item_id,timestamp", ["a,,5,1", "b,NA,6,2", "b,,7,3"], [0, 1, 3]),
        ("session_id,user_id,item_id,timestamp", ["a,9,5,1", "b,9,6,2", "b,9,7,3"], [0, 3]),
        ("User ID,Item-ID,Time Stamp", ["a,5,1", "b,6,2", "b,7,3"], [0, 1, 3]),
    ],
)
def test_names_as_people_write_them_and_sessions_without_users(tmp_path, header, rows, offsets):
    (tmp_path / "a.csv").write_text("\n".join([header, *rows]) + "\n")
    assert load(DataSpec(path=str(tmp_path / "a.csv"))).offsets.tolist() == offsets


@pytest.mark.parametrize(
    ("times", "read", "unit"),
    [
        ("(1600000000123456768::DOUBLE), (1600000000123456512)", [512, 768], "ns"),
        ("(1600000000.5::DOUBLE), (1600000000.25)", [250, 500], "ms"),
        ("(1600000000.25::DECIMAL(18, 2)), (1600000000.24)", [240, 250], "ms"),
        ("(DATE '2020-09-13'), (DATE '2020-09-12')", [800, 200], "s"),
        (
            "(TIMESTAMPTZ '2020-09-13 12:26:40.000123+00'), ('2020-09-13 12:26:40+00')",
            [0, 123],
            "us",
        ),
        (
            "(TIMESTAMP_MS '2020-09-13 12:26:40.001'), (TIMESTAMP_MS '2020-09-13 12:26:40')",
            [0, 1],
            "ms",
        ),
    ],
)
def test_nothing_of_a_time_in_parquet_is_lost(tmp_path, times, read, unit):
    select = f"SELECT 1 AS user, row_number() OVER () AS item, t AS ts FROM (VALUES {times}) v(t)"
    found = load(DataSpec(path=str(write_parquet(tmp_path / "rows.parquet", select))))
    assert found.times is not None
    assert (found.times % 1000).tolist() == read
    assert found.time_unit == unit
    assert found.item_ids.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1600000000::FLOAT", "32-bit floats"),
        ("'infinity'::TIMESTAMP", "all times cannot be read"),
        ("'nan'::DOUBLE", "'nan' in row 1"),
        ("TIME '10:00:00'", "a column of TIME is not a time"),
        ("NULL::TIMESTAMP", "1 of 1 rows have no time"),
    ],
)
def test_what_is_no_time_in_parquet_is_refused(tmp_path, value, message):
    path = write_parquet(tmp_path / "rows.parquet", f"SELECT 1 AS user, 2 AS item, {value} AS ts")
    with pytest.raises(DataError, match=message):
        load(DataSpec(path=str(path)))
