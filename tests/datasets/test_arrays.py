"""Arrays from chunks are the same in memory and in a file."""

import numpy as np
import pytest

from scalelab.datasets.arrays import ArraySink, new_array


@pytest.mark.parametrize("in_file", [False, True])
def test_chunks_come_one_after_the_other_in_the_type_of_the_array(tmp_path, in_file):
    path = tmp_path / "ids.npy" if in_file else None
    sink = ArraySink(5, np.int32, path)
    sink.append(np.array([7, 1], dtype=np.int64))
    sink.append(np.array([], dtype=np.int64))
    sink.append(np.arange(6, dtype=np.int64)[::2])
    found = sink.finish()
    assert (found.dtype, found.tolist()) == (np.int32, [7, 1, 0, 2, 4])
    assert isinstance(found, np.memmap) == in_file
    if in_file:
        assert not found.flags.writeable


@pytest.mark.parametrize("in_file", [False, True])
def test_an_array_is_filled_in_any_order(tmp_path, in_file):
    path = tmp_path / "ids.npy" if in_file else None
    made = new_array(3, np.int64, path)
    made[2], made[0], made[1] = 3, 1, 2
    assert made.tolist() == [1, 2, 3]
    if in_file:
        made.flush()
        assert np.load(path).tolist() == [1, 2, 3]
