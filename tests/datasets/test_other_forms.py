"""Forms that people's files have and that were once read wrongly, or refused without help."""

import json
from gzip import compress

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scalelab.core.errors import DataError
from scalelab.datasets.request import request

USERS = pa.array(["u", "u"])
ITEMS = pa.array(["a", "b"])


def histories(path, **settings):
    """The items of each user by the file's own ids, and the times."""
    found = request(path, None, settings).load()
    assert found.find_original_ids is not None
    names = found.find_original_ids().tolist()
    whole = [
        [names[item - 1] for item in found.item_ids[start:end]]
        for start, end in zip(found.offsets[:-1], found.offsets[1:], strict=True)
    ]
    return whole, None if found.times is None else found.times.tolist(), found.time_unit


def refused(path, **settings):
    with pytest.raises(DataError) as caught:
        request(path, None, settings).load()
    return caught.value.message, caught.value.hint


def timed(path, times):
    """A csv in which one user has items a, b, c at these times."""
    rows = "".join(f'u,{item},"{time}"\n' for item, time in zip("abcdefgh", times, strict=False))
    path.write_text("user,item,ts\n" + rows)
    return path


@pytest.mark.parametrize(
    ("times", "units"),
    [
        (["-1", "1600000000000", "1600000001"], "s and in ms"),
        (["5", "1600000001", "1600000000000"], "s and in ms"),
        (["0", "1600000000000", "1600000000000000"], "ms and in us"),
        (["1600000000.123", "1600000000123"], "s and in ms"),
        (["0.5", "1600000000.25", "1600000000123.5"], "s and in ms"),
        (["1.6e9", "1.6e18"], "s and in ns"),
    ],
)
def test_two_units_in_one_column_are_found_whatever_else_is_there(tmp_path, times, units):
    message, _ = refused(timed(tmp_path / "a.csv", times))
    assert f"times are in {units}" in message


@pytest.mark.parametrize("step", [50_000_000_000, 500_000_000])
def test_a_counter_that_passes_through_the_units_is_no_mixture(tmp_path, step):
    rows = "".join(f"u,{n},{step * n}\n" for n in range(41))
    (tmp_path / "a.csv").write_text("user,item,ts\n" + rows)
    assert histories(tmp_path / "a.csv")[1:] == ([step * n for n in range(41)], "")


@pytest.mark.parametrize(
    ("times", "read", "unit"),
    [
        (["2023010210", "2023010209"], [1672650000, 1672653600], "s"),
        (["202301021015", "202301021014"], [1672654440, 1672654500], "s"),
        (["20230102101500123", "20230102101500122"], [1672654500122, 1672654500123], "ms"),
        # Seconds of 2034, of which one is no date.
        (["2033010299", "2023010210"], [2023010210, 2033010299], "s"),
        # Numbers of which hardly one is a date.
        (["20239999", "20230000", "20239998"], [20230000, 20239998, 20239999], ""),
    ],
)
def test_dates_written_as_one_number(tmp_path, times, read, unit):
    assert histories(timed(tmp_path / "a.csv", times))[1:] == (read, unit)


@pytest.mark.parametrize(
    ("times", "message", "hint"),
    [
        (
            ["20231301", "20230102", "20230103"],
            "1 times .* '20231301' in row 1",
            "",
        ),
        (["202313010000", "202301020000", "202301020001"], "'202313010000' in row 1", ""),
        (["1.6E+09", "1.59E+09"], "all times are rounded, such as 1.6E.09", "order"),
        (["12345678901234567890", "1"], "times reach from 1 to 12345678901234567890", "order"),
        (["12345678901234567890.0", "1"], "times reach from 1 to 1234567890123456", "order"),
    ],
)
def test_a_number_that_is_no_time_is_named(tmp_path, times, message, hint):
    path = timed(tmp_path / "a.csv", times)
    with pytest.raises(DataError, match=message) as caught:
        request(path, None, {}).load()
    assert hint in (caught.value.hint or "")
    if hint == "order":
        assert histories(path, time="order")[0] == [["a", "b"]]


@pytest.mark.parametrize("outlier", ["0", "-1", "5"])
@pytest.mark.parametrize("times", [range(1_600_000_000, 1_600_000_020), range(20230101, 20230121)])
def test_one_odd_number_hides_no_column_of_times(tmp_path, outlier, times):
    rows = "".join(f"u,{n},{time}\n" for n, time in enumerate([outlier, *times]))
    (tmp_path / "a.csv").write_text("user,item,seen\n" + rows)
    message, hint = refused(tmp_path / "a.csv")
    assert "one could be: 'seen'" in message
    assert 'data.time = "order"' in hint


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC"])
def test_nanoseconds_with_a_zone(tmp_path, zone):
    path = tmp_path / "a.parquet"
    for whole, nanos in ((1_600_000_000 * 10**9, (0, -(10**9))), (1_600_000_000 * 10**9, (2, 1))):
        times = pa.array([whole + n for n in nanos], pa.timestamp("ns", zone))
        pq.write_table(pa.table({"user": USERS, "item": ITEMS, "ts": times}), path)
        if nanos == (2, 1) and duckdb.__version__ < "2":
            message, _ = refused(path)
            assert "rounds to microseconds" in message
            continue
        whole_history, read, unit = histories(path)
        assert whole_history == [["b", "a"]]
        scale = {"s": 10**9, "ns": 1}[unit]
        assert [time * scale for time in read or ()] == [whole + nanos[1], whole + nanos[0]]


@pytest.mark.parametrize(
    ("kind", "value"), [(pa.time32("s"), 5), (pa.time64("ns"), 5), (pa.bool_(), True)]
)
def test_a_column_that_is_no_time_has_a_way_out(tmp_path, kind, value):
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"user": USERS, "item": ITEMS, "ts": pa.array([value] * 2, kind)}), path
    )
    message, hint = refused(path)
    assert "is not a time" in message
    assert 'data.time = "order"' in hint
    assert histories(path, time="order")[0] == [["a", "b"]]


@pytest.mark.parametrize("names", [("user", "User"), ("user", "USER"), ("user", "user")])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_two_columns_of_one_name_are_refused(tmp_path, names, form):
    path = tmp_path / f"a.{form}"
    if form == "csv":
        path.write_text(f"{','.join(names)},item,ts\n1,2,a,3\n")
    else:
        table = pa.Table.from_arrays([USERS, ITEMS, ITEMS, USERS], names=[*names, "item", "x"])
        pq.write_table(table, path)
    message, _ = refused(path)
    assert "several columns called 'user'" in message


CSV = b"user,item,ts\nu,a,2\nu,b,1\n"


@pytest.mark.parametrize(
    ("name", "content", "message", "hint"),
    [
        ("a.csv", compress(CSV, mtime=0), "is packed with gzip", ".csv.gz"),
        ("a.csv.gz", CSV, "is not packed with gzip", "call it a.csv"),
        ("a.csv.zst", CSV, "is not packed with zstd", "call it a.csv"),
        ("a.txt.gz", b"1 2\n1 3\n", "is not packed with gzip", "call it a.txt"),
        ("a.csv.gz", compress(CSV * 999, mtime=0)[:-30], "cannot be unpacked", "fetch"),
        ("a.csv.gz", compress(compress(CSV, mtime=0), mtime=0), "is packed with gzip", ".gz"),
        ("a.csv", b"PK\x03\x04" + b"\0" * 50, "zip archive or an Excel file", "unpack"),
        ("a.csv", b"\xd0\xcf\x11\xe0" + b"\0" * 50, "Excel", "to_parquet"),
        ("a.tsv", b"PAR1\x15\x04" + b"\0" * 50, "is a parquet file", ".parquet"),
        ("a.dat", b"SQLite format 3\0", "SQLite", "to_parquet"),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\noid 1\n", "Git LFS", "lfs pull"),
        ("a.csv", b"<!DOCTYPE html>\n<html>404</html>\n", "a page of the web", "fetched"),
        ("a.csv", b'{"user": 1, "item": 2}\n', "holds JSON", "call it .jsonl"),
        ("a.csv", CSV.decode().encode("utf-16-le"), "UTF-16 without a mark", "utf-16-le"),
        ("a.csv", CSV.replace(b",", b" "), "no comma, tab, semicolon", "separate"),
        ("a.csv", b"# made today\n" + CSV, "no comma, tab, semicolon", "before the header"),
        ("a.csv", b"alice,book\nalice,pen\n", "no column called 'user'", "data.header = false"),
        ("a.csv.zip", b"PK\x03\x04", "cannot read 'a.csv.zip'", "unpack it"),
        ("a.tar.gz", compress(b"x", mtime=0), "cannot read 'a.tar.gz'", "unpack it"),
        ("a.feather", b"ARROW1\0\0", "cannot read 'a.feather'", "to_parquet"),
        ("a.json", b'{"user": {"0": "u"}, "item": {"0": "a"}}\n', "objects or lists", "records"),
        ("a.jsonl", b'{"user": 1, "item": 2},\n{"user": 1}\n', "ends in a comma", "remove"),
        ("a.jsonl", b'{"user": 1, "item": "a\\nb"}\n', "hold a line break", "csv and tsv"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, name, content, message, hint):
    (tmp_path / name).write_bytes(content)
    said = refused(tmp_path / name)
    assert message in said[0]
    assert hint in said[1]


@pytest.mark.parametrize(
    ("name", "content", "settings"),
    [
        ("a.tsv", CSV, {}),
        ("a.csv", CSV.decode().encode("utf-16-le"), {"encoding": "utf-16-le"}),
        ("a.csv", CSV.decode().encode("utf-16-be"), {"encoding": "utf-16-be"}),
        ("a.csv", CSV.decode().encode("utf-16"), {}),
        ("a.csv.gz", compress(CSV[:20], mtime=0) + compress(CSV[20:], mtime=0), {}),
        ("a.csv", CSV.replace(b"\n", b",\n"), {}),
        ("a.csv", b"BZh,PK,user,item,ts\n1,1,u,a,2\n1,1,u,b,1\n", {}),
    ],
)
def test_what_is_clear_is_read(tmp_path, name, content, settings):
    (tmp_path / name).write_bytes(content)
    assert histories(tmp_path / name, **settings)[0] == [["b", "a"]]


@pytest.mark.parametrize("name", ["items", "Item IDs", "item_list"])
@pytest.mark.parametrize("values", [("1 2 3", "4 5"), ("a|b", "c|d"), ("a;b;c", "d;e")])
def test_several_items_in_one_text_are_no_item(tmp_path, name, values):
    rows = "".join(f"{user}\t{value}\n" for user, value in enumerate(values))
    (tmp_path / "a.tsv").write_text(f"user\t{name}\n{rows}")
    message, hint = refused(tmp_path / "a.tsv")
    assert "2 of 2 values" in message
    assert f'data.item = "{name}"' in hint
    assert histories(tmp_path / "a.tsv", item=name)[0] == [[value] for value in values]


def test_one_item_of_many_may_have_a_blank(tmp_path):
    (tmp_path / "a.csv").write_text("user,items\nu,a b\nu,c\n")
    assert histories(tmp_path / "a.csv")[0] == [["a b", "c"]]


@pytest.mark.parametrize(
    ("name", "text", "message", "stated", "read"),
    [
        ("a.txt", "u1 a,b,c\nu2 d,e\n", "commas, semicolons", None, None),
        ("b.txt", "u1 a, b, c\nu2 c, a\n", "commas, semicolons", None, None),
        ("c.txt", "1,2,3\n1,3,4\n2,2,1\n", "commas, semicolons", None, None),
        ("d.txt", "1 10:5 20:3\n2 10:4\n", "a colon between two numbers", None, None),
        ("e.txt", "# user items\nu1 a b\nu2 a\n", "seems to be a comment", None, None),
        ("f.txt", "% user item\n1 2\n1 3\n", "seems to be a comment", None, None),
        ("g.txt", "1 2 100\n1 3 50\n1 4 100\n", "a rating or a count", "order", [2, 3, 4]),
        ("h.txt", "1 2 9 50\n1 3 8 40\n1 4 7 40\n", "a rating or a count", "3", [4, 3, 2]),
        ("i.txt", "1 2 1600000002 5\n1 3 1600000001 5\n", "may be a rating", "3", [3, 2]),
    ],
)
def test_words_of_a_line_are_what_they_seem(tmp_path, name, text, message, stated, read):
    (tmp_path / name).write_text(text)
    said, hint = refused(tmp_path / name)
    assert message in said
    if stated is not None:
        assert stated in hint
        assert histories(tmp_path / name, time=stated)[0] == [read]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("#1 a b\n#2 a\n", [["a", "b"], ["a"]]),
        ("u1 a,b c\nu2 c\nu3 c d\n", [["a,b", "c"], ["c"], ["c", "d"]]),
        ("u1 app:1 app:2\nu2 app:1\n", [["app:1", "app:2"], ["app:1"]]),
    ],
)
def test_marks_within_ids_are_theirs(tmp_path, text, read):
    (tmp_path / "a.txt").write_text(text)
    assert histories(tmp_path / "a.txt")[0] == read


HEADER = "user_id:token\titem_id:token\titems:token_seq\ttimestamp:float\n"


@pytest.mark.parametrize(
    ("text", "settings", "message", "hint"),
    [
        (HEADER + "1\ta\ta b\t3\n", {"item": "items"}, "'items' is a token_seq", "data.item"),
        (HEADER.replace("items", "item_id"), {}, "several columns called 'item_id'", "rename"),
        (HEADER.replace("timestamp", "x"), {}, "no column 'timestamp'", 'data.time = "order"'),
    ],
)
def test_an_inter_file_of_another_form(tmp_path, text, settings, message, hint):
    (tmp_path / "a.inter").write_text(text)
    said = refused(tmp_path / "a.inter", **settings)
    assert message in said[0]
    assert hint in said[1]


@pytest.mark.parametrize("rating", ["-1", "1e0", "", "+2.5", ".5"])
def test_a_rating_is_no_header_however_it_is_written(tmp_path, rating):
    (tmp_path / "a.dat").write_text(f"1::2::{rating}::4\n1::3::4::3\n")
    assert histories(tmp_path / "a.dat")[0] == [[3, 2]]


def test_blanks_in_a_dat_file_name_the_reader_that_reads_them(tmp_path):
    (tmp_path / "a.dat").write_text("1 2 3 1600000001\n1 3 4 1600000000\n")
    message, hint = refused(tmp_path / "a.dat")
    assert "not a MovieLens" in message
    assert hint == 'set data.reader = "lines"'
    assert histories(tmp_path / "a.dat", reader="lines")[0] == [[3, 2]]


def test_a_number_of_json_and_its_exponent_are_one_item(tmp_path):
    rows = ['{"user": 1e0, "item": 1e3, "ts": 2}', json.dumps({"user": 1, "item": 1000, "ts": 1})]
    (tmp_path / "a.jsonl").write_text("\n".join(rows) + "\n")
    assert histories(tmp_path / "a.jsonl")[0] == [[1000, 1000]]
