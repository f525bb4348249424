"""What the table reader makes of columns, ids, times and of what is wrong with them."""

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelab.core.errors import DataError
from scalelab.core.spec import DataSpec
from scalelab.datasets.load import load


def write(path, text):
    path.write_text(text)
    return str(path)


def read(tmp_path, text, name="rows.csv", **options):
    return load(DataSpec(path=write(tmp_path / name, text), **options))


_UNREAD = r"1 times cannot be read, the first is '[a-z]+' in row 2"

rows = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 50), st.integers(-3, 3)), min_size=1, max_size=40
)


@pytest.mark.slow
@settings(max_examples=25)  # a database is opened for each
@given(rows, st.booleans())
def test_rows_are_sorted_by_user_and_time_and_ties_keep_file_order(tmp_path_factory, rows, as_text):
    mark = "x" if as_text else ""
    text = "user,item,ts\n" + "".join(f"{mark}{u},{mark}{i},{t}\n" for u, i, t in rows)
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    found = load(DataSpec(path=write(path, text)))
    users = (
        list(dict.fromkeys(u for u, _, _ in rows)) if as_text else sorted({u for u, _, _ in rows})
    )
    expected = [i for user in users for u, i, _ in sorted(rows, key=lambda r: r[2]) if u == user]
    first_seen = list(dict.fromkeys(i for _, i, _ in rows))
    names = sorted(first_seen)
    dense = names[0] in (0, 1) and names[-1] - names[0] + 1 == len(names)
    number = {n: k for k, n in enumerate(names if dense and not as_text else first_seen, start=1)}
    assert found.item_ids.tolist() == [number[i] for i in expected]
    assert found.num_items == len(number)
    assert found.num_users == len(users)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "tsv", "jsonl", "csv.gz"])
def test_every_suffix_reads_alike(tmp_path, suffix):
    path = tmp_path / f"rows.{suffix}"
    form = {
        "parquet": "FORMAT parquet",
        "tsv": "FORMAT csv, HEADER, DELIMITER '\t'",
        "jsonl": "FORMAT json",
    }.get(suffix, "FORMAT csv, HEADER")
    values = "SELECT (i * 7) % 5 AS user_id, (i * 3) % 11 AS item_id, 100 - i AS timestamp"
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({values} FROM range(50) t(i)) TO '{path}' ({form})")
    found = load(DataSpec(path=str(path)))
    assert (found.num_users, found.num_items, found.num_interactions) == (5, 11, 50)
    last = [(i * 3) % 11 + 1 for i in range(49, -1, -1) if (i * 7) % 5 == 0]
    assert found.histories[0].tolist() == last


def test_columns_by_name_and_rows_by_condition(tmp_path):
    text = "who,what,when,rating\n1,8,3,5\n1,9,1,5\n1,7,2,1\n"
    found = read(tmp_path, text, user="who", item="what", time="when", where="rating > 2")
    assert found.item_ids.tolist() == [2, 1]


def test_without_a_time_column_the_file_is_the_order(tmp_path):
    found = read(tmp_path, "user,item\n1,5\n0,6\n1,4\n")
    assert found.times is None
    assert found.time_is_order
    assert found.item_ids.tolist() == [2, 1, 3]


@pytest.mark.parametrize(
    ("times", "apart"),
    [
        (["2020-01-01 00:00:02", "2020-01-01 00:00:01"], 1),
        (["2.5", "1.25"], 1250),
        (["2e9", "1e9"], 10**9),
    ],
)
def test_times_may_be_dates_or_fractions(tmp_path, times, apart):
    found = read(tmp_path, "user,item,ts\n" + "".join(f"1,{i},{t}\n" for i, t in enumerate(times)))
    assert found.item_ids.tolist() == [2, 1]
    assert found.times is not None
    assert np.diff(found.times).tolist() == [apart]


@pytest.mark.parametrize("first", [0, 1])
def test_times_that_count_the_history_are_an_order(tmp_path, first):
    text = "user,item,ts\n" + "".join(
        f"{u},{u + t},{t + first}\n" for u in (1, 2) for t in range(3)
    )
    assert read(tmp_path, text).time_is_order
    assert not read(tmp_path, text + "2,9,7\n").time_is_order


def test_a_card_beside_decides(tmp_path):
    (tmp_path / "card.json").write_text('{"timestamps": "order"}')
    assert read(tmp_path, "user,item,ts\n1,5,3\n1,6,9\n").time_is_order


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("user,item,ts\n", {}, "holds no interactions"),
        ("", {}, "is empty"),
        ("user,item,ts\n1,2,3\n,2,3\n", {}, "1 of 2 rows have no user"),
        ("user,item,ts\n1,2,3\n1,,3\n", {}, "1 of 2 rows have no item"),
        ("user,item,ts\n1,2,3\n1,2,\n", {}, "1 of 2 rows have no time"),
        (
            "user,item,ts\n1,2,3\n1,2,nan\n",
            {},
            _UNREAD,
        ),
        (
            "user,item,ts\n1,2,3\n1,2,inf\n",
            {},
            _UNREAD,
        ),
        (
            "user,item,ts\n1,2,3\n1,2,soon\n",
            {},
            _UNREAD,
        ),
        ("user,item,ts\n1,2.5,3\n", {}, "item ids are NaN or not whole"),
        ("who,item,ts\n1,2,3\n", {}, "no column called 'user'"),
        ("user,item,ts\n1,2,3\n", {"time": "when"}, "no column 'when'"),
        ("user,item,ts\n1,2,3\n", {"where": "rating > 3"}, "rating"),
        ("user,item,ts\n1,2,3\n", {"where": "item > 3"}, "holds no interactions"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(tmp_path, text, options, message):
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, text, **options)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_a_suffix_that_is_not_known_names_those_that_are(tmp_path):
    with pytest.raises(DataError, match="cannot read") as caught:
        read(tmp_path, "1 2 3", name="rows.xlsx")
    assert ".parquet" in caught.value.hint


@pytest.mark.parametrize("name", ["amazon-beauty", "ml-1m", "ml-latest-small"])
def test_a_real_set_keeps_the_order_and_ids_of_its_file(shared, name):
    folder = shared / "data" / name
    if not folder.is_dir():
        pytest.skip(f"no data set {folder}")
    with duckdb.connect() as connection:
        file = f"'{folder}/interactions.parquet'"
        raw = connection.execute(f'SELECT "user", item, ts FROM {file}').fetchnumpy()
    found = load(DataSpec(path=str(folder)))
    np.testing.assert_array_equal(found.item_ids, raw["item"] + 1)
    np.testing.assert_array_equal(found.times, raw["ts"])
    np.testing.assert_array_equal(np.diff(found.offsets), np.bincount(raw["user"]))
    assert found.time_is_order == (name == "ml-1m")


def test_values_of_a_file_without_a_header_are_no_names(tmp_path):
    """The first interaction has the number 1 twice, which is also a place."""
    file = tmp_path / "behaviour.csv"
    file.write_text("1,1,pv,1600000001\n1,2,pv,1600000002\n2,1,pv,1600000003\n")
    spec = DataSpec(path=str(file), header=False, user="1", item="2", time="4")
    found = load(spec)
    assert (found.num_users, found.num_items, found.num_interactions) == (2, 2, 3)
