"""Forms that are read once they are stated, and files whose refusal says how to write them anew."""

import datetime as dt
import gzip
import json
import random
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scalelab.core.errors import DataError, SpecError
from scalelab.datasets.request import request
from tests.datasets.test_other_forms import histories, refused

DAY = int(dt.datetime(2014, 9, 1, tzinfo=dt.UTC).timestamp())
NOON = DAY + 12 * 3600 + 93  # 12:01:33

TWO = {"data.time": ("date", "time")}


def clocked(path, rows, header="user,item,date,time", mark=","):
    lines = [header.replace(",", mark)] * bool(header)
    path.write_text("\n".join([*lines, *(mark.join(row) for row in rows)]) + "\n")
    return path


@pytest.mark.parametrize(
    ("dates", "clocks", "seconds"),
    [
        (["2014-09-01", "2014-09-02"], ["12:01:33", "09:00:00"], [NOON, DAY + 86400 + 32400]),
        (["2014-09-01", "2014-09-01"], ["12:01", "9:00"], [NOON - 33, DAY + 32400]),
        (["01/09/2014", "13/09/2014"], ["12:01:33", "00:00:00"], [NOON, DAY + 12 * 86400]),
        (["20140901", "20140902"], ["12:01:33", "00:00:01"], [NOON, DAY + 86401]),
        (["2014/9/1", "2014/9/2"], ["12:01:33 PM", "1:00:00 AM"], [NOON, DAY + 86400 + 3600]),
        (["Sep 01, 2014", "Sep 02, 2014"], ["12:01:33", "00:00:00"], [NOON, DAY + 86400]),
    ],
)
def test_a_date_and_a_time_of_day_are_one_time(tmp_path, dates, clocks, seconds):
    rows = [("u", "b", f'"{dates[1]}"', clocks[1]), ("u", "a", f'"{dates[0]}"', clocks[0])]
    path = clocked(tmp_path / "a.csv", rows)
    found = histories(path, **TWO)
    order = sorted(zip(seconds, "ab", strict=True))
    assert found == ([[item for _, item in order]], [second for second, _ in order], "s")
    assert request(path, None, TWO).load().columns["time"] == "date, time"


def test_fractions_and_stated_formats_are_kept(tmp_path):
    path = clocked(tmp_path / "a.csv", [("u", "a", "2014-09-01", "12:01:33.25")])
    assert histories(path, **TWO) == ([["a"]], [NOON * 1000 + 250], "ms")
    path = clocked(tmp_path / "b.csv", [("u", "a", "01092014", "120133")])
    stated = TWO | {"data.time_format": "%d%m%Y %H%M%S"}
    assert histories(path, **stated) == ([["a"]], [NOON], "s")


def test_two_columns_of_parquet_and_json_are_read_by_their_types(tmp_path):
    day, clock = dt.date(2014, 9, 1), dt.time(12, 1, 33)
    midnight = dt.datetime(2014, 9, 1)
    for number, date in enumerate((pa.array([day]), pa.array([midnight]), pa.array([str(day)]))):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(
            pa.table({"user": ["u"], "item": ["a"], "date": date, "time": pa.array([clock])}), path
        )
        assert histories(path, **TWO) == ([["a"]], [NOON], "s")
    path = tmp_path / "a.jsonl"
    row = {"user": "u", "item": "a", "date": str(day), "time": str(clock)}
    path.write_text(json.dumps(row) + "\n")
    assert histories(path, **TWO) == ([["a"]], [NOON], "s")


def test_places_name_two_columns_too(tmp_path):
    row = ("u", "a", "2014-09-01", "12:01:33")
    path = clocked(tmp_path / "a.csv", [row, row], header="")
    places = {"data.user": 1, "data.item": 2, "data.time": (3, 4), "data.header": False}
    assert histories(path, **places) == ([["a", "a"]], [NOON, NOON], "s")
    path = clocked(tmp_path / "a.txt", [row, row, ("v", *row[1:])], header="", mark=" ")
    lines = {"data.reader": "lines", "data.user": 1, "data.item": 2, "data.time": (3, 4)}
    assert histories(path, **lines)[:2] == ([["a", "a"], ["a"]], [NOON] * 3)
    message, _ = refused(path, **(lines | {"data.time": (3, 9)}))
    assert "is not two places in a line of 4 words" in message


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("u", "a", "2014-09-01", ""), "1 of 2 rows have no time"),
        (("u", "a", "2014-09-01", '" "'), "1 of 2 rows have no time"),
        (("u", "a", '" "', "12:01:33"), "1 of 2 rows have no time"),
        (("u", "a", "", "12:01:33"), "1 of 2 rows have no time"),
        (("u", "a", "2014-09-01", "later"), "times cannot be read"),
    ],
)
def test_a_missing_half_is_no_time(tmp_path, row, message):
    path = clocked(tmp_path / "a.csv", [("u", "b", "2014-09-01", "12:00:00"), row])
    assert message in refused(path, **TWO)[0]


def test_one_two_and_three_columns(tmp_path):
    path = clocked(tmp_path / "a.csv", [("u", "b", "2014-09-01", "12:00:00")])
    for names, said in [
        (("date",), "names 1 columns"),
        (("date", "time", "item"), "names 3 columns"),
        (("date", "tod"), "has no column 'tod'"),
    ]:
        with pytest.raises((DataError, SpecError), match=said):
            request(path, None, {"data.time": names}).load()


@pytest.mark.parametrize(
    "names", ["date,time", "event_date,event_time", "day,time", "transaction_date,time_of_day",
              "Datum,Uhrzeit", "day_of_visit,at",
              "date,hour"]
)  # fmt: skip
def test_half_a_time_is_refused_with_what_to_set(tmp_path, names):
    date, clock = names.split(",")
    path = clocked(tmp_path / "a.csv", [("u", "b", "2014-09-01", "12:01:33")], f"user,item,{names}")
    message, hint = refused(path)
    assert "time of day" in message or "one could be" in message
    assert f'data.time = ["{date}", "{clock}"]' in hint
    assert histories(path, **{"data.time": (date, clock)})[1] == [NOON]
    # Whoever names the date means it.
    assert histories(path, **{"data.time": date})[1] == [DAY]


@pytest.mark.parametrize("name", ["hour", "Hour", "event_hour", "hour_of_day"])
def test_hours_beside_a_day_are_refused_too(tmp_path, name):
    rows = [("u", "b", "2014-09-01", "12"), ("u", "a", "2014-09-01", "9")]
    path = clocked(tmp_path / "a.csv", rows, f"user,item,date,{name}")
    assert f'data.time = ["date", "{name}"]' in refused(path)[1]
    found = histories(path, **{"data.time": ("date", name)})
    assert found == ([["a", "b"]], [DAY + 9 * 3600, DAY + 12 * 3600], "s")


@pytest.mark.parametrize("before", [(), ("5",)])
def test_words_of_a_date_and_a_time_of_day(tmp_path, before):
    rows = [("u", item, *before, "2014-09-01", "12:01:33") for item in "ab"]
    path = clocked(tmp_path / "a.txt", rows, header="", mark=" ")
    message, hint = refused(path)
    assert "a time of day" in message
    first = 3 + len(before)
    assert f"data.user = 1, data.item = 2 and data.time = [{first}, {first + 1}]" in hint
    places = {"data.user": 1, "data.item": 2, "data.time": (first, first + 1)}
    assert histories(path, **places)[1] == [NOON, NOON]


@pytest.mark.parametrize("typed", ["[date,time]", "date,time"])
def test_a_list_without_quotation_marks_says_how_to_type_it(tmp_path, typed):
    path = clocked(tmp_path / "a.csv", [("u", "b", "2014-09-01", "12:01:33")])
    assert """--set 'data.time=["date", "time"]'""" in refused(path, **{"data.time": typed})[1]


def test_a_span_of_time_beside_a_day_is_no_time_of_day(tmp_path):
    header = "user,item,date,watch_time,duration,watch_hours"
    rows = [
        ("u", "b", "2014-09-01", "73:10", "03:20", "3"),
        ("u", "a", "2014-09-02", "90:00", "03:20", "4"),
    ]
    assert histories(clocked(tmp_path / "a.csv", rows, header))[1] == [DAY, DAY + 86400]


BOOKS = [
    '"User-ID";"ISBN";"Title"',
    '"276725";"034545104X";"Classical \\"Mythology\\"; caf\u00e9"',
    '"276726";"0155061224";"\\"Wuthering\\" &amp; heights"',
    '"276725";"0155061224";"ends with \\\\"',
    '"276725";"0446520802";"last \\""',
]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_backslash_before_a_quotation_mark_is_stated(tmp_path, end, packed):
    path = tmp_path / ("books.csv.gz" if packed else "books.csv")
    content = (end.join(BOOKS) + end).encode("latin-1")
    path.write_bytes(gzip.compress(content) if packed else content)
    settings = {"data.encoding": "latin-1"}
    message, hint = refused(path, **settings)
    assert "unterminated quote" in message
    assert 'data.escape = "backslash"' in hint
    whole, times, _ = histories(path, **settings, **{"data.escape": "backslash"})
    assert whole == [["034545104X", "0155061224", "0446520802"], ["0155061224"]]
    assert times is None


def test_doubled_marks_need_no_setting(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('user,item,title\nu,a,"say ""b"", c"\nu,b\\,"x"\n'.replace("b\\,", "b\\c,"))
    assert histories(path)[0] == [["a", "b\\c"]]


NETFLIX = "1:\n1488844,3,2005-09-06\n822109,5,2005-05-13\n2:\n1488844,4,2004-12-26\n"


@pytest.mark.skipif(sys.platform == "win32", reason="types a command into a shell of Unix")
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("combined data_1.txt", {}),
        ("a.txt", {"data.reader": "lines"}),
        ("a.csv", {}),
        ("a.data", {"data.reader": "table", "data.header": False}),
        ("a.txt.gz", {}),
        ("parts", {}),
    ],
)
def test_what_to_do_with_netflix_works_when_typed(tmp_path, name, settings):
    path = tmp_path / name
    content = NETFLIX.replace("\n", "\r\n") if name == "a.csv" else NETFLIX
    if name == "parts":
        path.mkdir()
        for number, part in enumerate(content.split("2:")):
            text = part if number == 0 else "2:" + part
            (path / f"mv_000000{number}.txt").write_text(text)
    else:
        data = content.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    message, hint = refused(path, **settings)
    assert "Netflix" in message
    command = hint.removeprefix("write a table: ")
    subprocess.run(["bash", "-ec", command], cwd=tmp_path, check=True)
    found = histories(tmp_path / "netflix.csv")
    stated = [int(dt.datetime(*day, tzinfo=dt.UTC).timestamp())
              for day in [(2005, 5, 13), (2004, 12, 26), (2005, 9, 6)]]  # fmt: skip
    assert found == ([[1], [2, 1]], stated, "s")


def mind_rows(seed=0):
    rng = random.Random(seed)
    rows, expected, number = [], {}, 0
    for user in rng.sample(range(100), 12):
        before = [f"N{rng.randint(1, 60)}" for _ in range(rng.randint(0, 6))]
        clicks = []
        for _ in range(rng.randint(1, 4)):
            number += 1
            at = dt.datetime(2019, 11, 9, 0, 0) + dt.timedelta(seconds=rng.randint(0, 600_000))
            shown = [f"N{rng.randint(1, 60)}-{rng.randint(0, 1)}" for _ in range(4)]
            clicks.append((at, number, [item[:-2] for item in shown if item.endswith("-1")]))
            clock = f"{at.month}/{at.day}/{at.year} {at.hour % 12 or 12}:{at:%M:%S %p}"
            rows.append((number, f"U{user}", clock, " ".join(before), " ".join(shown)))
        items = before + [item for *_, found in sorted(clicks) for item in found]
        if items:
            expected[f"U{user}"] = items
    rng.shuffle(rows)
    return rows, expected


@pytest.mark.skipif(sys.platform == "win32", reason="types a command into a shell of Unix")
@pytest.mark.parametrize("seed", range(3))
def test_what_to_do_with_mind_works_when_typed(tmp_path, seed):
    rows, expected = mind_rows(seed)
    path = tmp_path / ("behaviors.tsv" if seed else "it's MIND.tsv")
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    places = {"data.header": False, "data.user": 2, "data.item": 4, "data.time": 3}
    for settings in ({}, places, places | {"data.items": "list"}):
        message, hint = refused(path, **settings)
        assert "MIND" in message
    command = hint[hint.index("python -c") :].replace("python", sys.executable, 1)
    subprocess.run(["bash", "-ec", command], cwd=tmp_path, check=True)
    whole, times, _ = histories(tmp_path / "mind.parquet")
    assert whole == [expected[user] for user in sorted(expected)]
    assert times is None


def listed(path, values, name="item_id"):
    rows = "".join(f'u{number},"{value}"\n' for number, value in enumerate(values))
    path.write_text(f"user_id,{name}\n" + rows)
    return path


@pytest.mark.parametrize(
    ("values", "lists"),
    [
        (["A1 5", "B2 3 4", "C7 8"], [["A1", "5"], ["B2", "3", "4"], ["C7", "8"]]),
        (["1,2,3", "4,5", "6"], [["1", "2", "3"], ["4", "5"], ["6"]]),
        (["1, 2", "4, 5, 6"], [["1", "2"], ["4", "5", "6"]]),
        (["SKU 1;SKU 2 b", "SKU 3"], [["SKU 1", "SKU 2 b"], ["SKU 3"]]),
        (["a1|b2|c3", "d4|e5"], [["a1", "b2", "c3"], ["d4", "e5"]]),
    ],
)
def test_what_a_value_is_can_be_stated(tmp_path, values, lists):
    path = listed(tmp_path / "a.csv", values)
    one, *_ = histories(path, **{"data.items": "one"})
    assert one == [[value] for value in values]
    several, *_ = histories(path, **{"data.items": "list"})
    assert [[str(item) for item in each] for each in several] == lists


@pytest.mark.parametrize("name", ["item_id", "items", "product_id"])
def test_the_refusal_names_both_settings(tmp_path, name):
    values = ["A1 5", "B2 3 4", "C7 8"]
    path = listed(tmp_path / "a.csv", values, name)
    message, hint = refused(path)
    assert "seem to hold several items" in message
    assert 'data.items = "list"' in hint
    assert 'data.items = "one"' in hint
    assert histories(path, **{"data.items": "one"})[0] == [[value] for value in values]


def test_lists_of_other_forms_stay_lists_and_one_item_may_have_brackets(tmp_path):
    as_list = {"data.items": "list"}
    path = tmp_path / "a.jsonl"
    path.write_text('{"user": "u", "item": ["a", "b c"]}\n{"user": "v", "item": ["d"]}\n')
    assert histories(path, **as_list)[0] == [["a", "b c"], ["d"]]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"user": ["u", "v"], "item": [["a", "b c"], ["d"]]}), path)
    assert histories(path, **as_list)[0] == [["a", "b c"], ["d"]]
    pq.write_table(pa.table({"user": ["u", "v"], "item": ["a b", "d"]}), path)
    assert histories(path, **as_list)[0] == [["a", "b"], ["d"]]
    path = listed(tmp_path / "a.csv", ["[A1]", "[B 2]"])
    assert histories(path, **{"data.items": "one"})[0] == [["[A1]"], ["[B 2]"]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1,2", "3|4"], "lists in several ways: ',', '|'"),
        (["[1, 2]", "3 4"], "lists in several ways: ',', JSON"),
        (["1 2", ""], "1 rows have no list of items"),
    ],
)
def test_lists_that_cannot_be_cut_are_refused(tmp_path, values, message):
    path = listed(tmp_path / "a.csv", values)
    assert message in refused(path, **{"data.items": "list"})[0]


def test_a_condition_leaves_out_what_has_no_list(tmp_path):
    path = listed(tmp_path / "a.csv", ["1 2", "", "3"])
    settings = {"data.items": "list", "data.where": "item_id <> ''"}
    assert histories(path, **settings)[0] == [[1, 2], [3]]


def test_one_time_counts_for_all_items_of_its_row(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("user,item,ts\nu,a1 b2,1600000000\nu,c3,1500000000\n")
    assert histories(path, **{"data.items": "list"}) == (
        [["c3", "a1", "b2"]], [1500000000, 1600000000, 1600000000], "s",
    )  # fmt: skip


SESSIONS = {"u": [["a", "b"], ["c", "a"]], "v": [["x", "y", "z"], ["x", "y"], ["x"]]}
GROWING = {"u": [["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"]], "v": [["x", "y"], ["x", "y"]]}


@pytest.mark.parametrize("form", ["jsonl", "parquet", "csv"])
@pytest.mark.parametrize(("lists", "is_refused"), [(SESSIONS, False), (GROWING, True)])
def test_rows_that_repeat_a_history_are_no_sessions(tmp_path, form, lists, is_refused):
    rows = [{"user": user, "item": items} for user, own in lists.items() for items in own]
    path = tmp_path / f"a.{form}"
    if form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        cells = (json.dumps(row["item"]).replace('"', '""') for row in rows)
        lines = [f'{row["user"]},"{cell}"' for row, cell in zip(rows, cells, strict=True)]
        path.write_text("user,item\n" + "\n".join(lines) + "\n")
    expected = [[item for items in own for item in items] for own in lists.values()]
    assert histories(path, **{"data.items": "list"})[0] == expected
    if not is_refused:
        assert histories(path)[0] == expected
        return
    message, hint = refused(path)
    assert "3 of 3 lists repeat the list before of the same user" in message
    assert 'data.items = "list"' in hint
