"""What every reader keeps, whichever there are."""

import numpy as np
import pytest

from scalelab.core import plugins
from scalelab.core.errors import DataError
from scalelab.core.spec import DataSpec
from scalelab.datasets.load import load
from tests.datasets.conftest import HISTORIES, write_rows

READERS = plugins.available("readers")
FILE_READERS = [name for name in READERS if name != "synthetic"]


def spec_of(reader, tmp_path):
    if reader in FILE_READERS:
        return DataSpec(reader=reader, path=str(write_rows(tmp_path, reader)))
    return DataSpec(reader=reader, num_users=50, num_items=400)


@pytest.mark.parametrize("reader", READERS)
def test_offsets_rise_and_ids_are_in_the_catalog(reader, tmp_path):
    read = load(spec_of(reader, tmp_path))
    assert read.offsets[0] == 0
    assert read.offsets[-1] == len(read.item_ids)
    assert (np.diff(read.offsets) > 0).all()
    assert read.item_ids.dtype == np.int32
    assert read.offsets.dtype == np.int64
    assert 1 <= read.item_ids.min() <= read.item_ids.max() <= read.num_items
    assert read.times is None or (
        read.times.dtype == np.int64 and len(read.times) == len(read.item_ids)
    )
    assert len(read.fingerprint) == 16


@pytest.mark.parametrize("reader", FILE_READERS)
def test_every_form_gives_the_same_histories_ties_in_file_order(reader, tmp_path):
    read = load(spec_of(reader, tmp_path))
    found = {tuple(read.histories[user].tolist()) for user in range(read.num_users)}
    names = {}
    for history in found:
        match = [h for h in HISTORIES.values() if len(h) == len(history)]
        assert match
    # The numbering of items is free; the pattern of who shares which item with whom is not.
    for numbered in sorted(found, key=len, reverse=True):
        options = [
            h
            for h in HISTORIES.values()
            if len(h) == len(numbered)
            and all(names.get(n, i) == i for n, i in zip(numbered, h, strict=True))
        ]
        assert options
        if len(options) == 1:
            names.update(zip(numbered, options[0], strict=True))
    assert read.num_items == 4
    assert read.num_interactions == 7


@pytest.mark.parametrize("reader", FILE_READERS)
def test_arrays_written_to_files_are_those_in_memory(reader, tmp_path):
    from scalelab.datasets.load import load as load_into

    spec = spec_of(reader, tmp_path)
    into = tmp_path / "into"
    into.mkdir()
    memory, mapped = load(spec), load_into(spec, into)
    np.testing.assert_array_equal(memory.item_ids, mapped.item_ids)
    np.testing.assert_array_equal(memory.offsets, mapped.offsets)


@pytest.mark.parametrize("reader", FILE_READERS)
@pytest.mark.parametrize("content", ["", "\n", "some words, that are; no data\n", "\x00\xff\x00"])
def test_a_file_of_nonsense_is_one_clear_line(reader, content, tmp_path):
    path = tmp_path / "nonsense.csv"
    path.write_text(content, encoding="latin-1")
    if reader == "sequences" and "words" in content:
        pytest.skip("these are data to this reader: a user called 'some' with six items")
    with pytest.raises(DataError) as caught:
        load(DataSpec(reader=reader, path=str(path)))
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("reader", FILE_READERS)
def test_a_missing_path_says_where_it_was_looked_for(reader, plain_environment):
    with pytest.raises(DataError, match="nowhere"):
        load(DataSpec(reader=reader, path="nowhere"))
    with pytest.raises(DataError, match=r"needs data\.path"):
        load(DataSpec(reader=reader))
