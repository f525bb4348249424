"""What ids are is decided from all of them, though the first ones may show that they are text."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scalelab.core.errors import DataError
from scalelab.datasets.request import request

# More rows than a first look takes.
MANY = 1200


def ids_of(path, items):
    """The own ids in the order of the rows, after reading them from parquet."""
    table = {"user": pa.array([1] * len(items)), "item": pa.array(items, pa.string())}
    pq.write_table(pa.table(table), path)
    found = request(path, None, {}).load()
    assert found.find_original_ids is not None
    names = found.find_original_ids().tolist()
    return [names[item - 1] for item in found.item_ids]


@pytest.mark.parametrize(
    ("usual", "odd", "read", "usual_read"),
    [
        ("7", "x", "x", "7"),  # numbers until the last row
        ("7", "07", "07", "7"),
        ("7", "8.0", 8, 7),
        ("x", "7", "7", "x"),
        ("x", " y\t", "y", "x"),
        ("x", "\u00a0y\u2009", "y", "x"),
        ("\u00e9", "\u3000\u00e8", "\u00e8", "\u00e9"),
        ("\u00e9", " e ", "e", "\u00e9"),
        (" x ", "\u00a0\u00e9", "\u00e9", "x"),
        ("7.0", "x", "x", "7.0"),
        ("7", "-8", "-8", "7"),
        ("7", " 8", 8, 7),
    ],
)
@pytest.mark.parametrize("is_last", [True, False])
def test_one_odd_id_counts_wherever_it_stands(tmp_path, usual, odd, read, usual_read, is_last):
    items = [usual] * MANY
    items.insert(MANY if is_last else 0, odd)
    expected = [usual_read] * MANY
    expected.insert(MANY if is_last else 0, read)
    assert ids_of(tmp_path / "a.parquet", items) == expected


@pytest.mark.parametrize("usual", ["7", "x", " x ", "\u00e9"])
@pytest.mark.parametrize("missing", [None, "", "NA", " null ", "\u00a0nan"])
@pytest.mark.parametrize("place", [0, MANY])
def test_one_missing_id_is_found_wherever_it_stands(tmp_path, usual, missing, place):
    items = [usual] * MANY
    items.insert(place, missing)
    with pytest.raises(DataError, match=f"1 of {MANY + 1} rows have no item.* row {place + 1}$"):
        ids_of(tmp_path / "a.parquet", items)


@pytest.mark.parametrize(
    ("usual", "odd", "message"),
    [
        ("7", "7.5", "1 item ids are NaN or not whole"),
        ("x", '{"a": 1}', "1 values of the item column are objects"),
        ("x", "a\nb", "1 item ids hold a line break"),
        ("cafe\u0301", "caf\u00e9", "1 item ids look like another one"),
        ("x", "x\u200b1", None),
    ],
)
@pytest.mark.parametrize("place", [0, MANY])
def test_one_bad_id_is_refused_wherever_it_stands(tmp_path, usual, odd, message, place):
    items = [usual] * MANY
    items.insert(place, odd)
    if message is None:
        assert len(set(ids_of(tmp_path / "a.parquet", items))) == 2
        return
    with pytest.raises(DataError, match=message):
        ids_of(tmp_path / "a.parquet", items)
