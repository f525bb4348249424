"""One sequence a row, its last item in the last column."""

import numpy as np

from scalelab.batches.packers.pad_left import PadLeft


def test_a_sequence_ends_in_the_last_column():
    lengths = np.array([1, 5, 3, 5, 2], np.int32)
    row, column, num_rows = PadLeft().pack(lengths, max_len=5, size=2)
    assert (column + lengths == 5).all()
    assert row.tolist() == [0, 1, 0, 1, 0]
    assert num_rows.tolist() == [2, 2, 1]
