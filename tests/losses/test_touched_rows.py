"""The rows that a step touches: each once, in order, with the sum of their gradients."""

import pytest
import torch

from scalelab.losses.streaming.touched_rows import TouchedByTile, TouchedRows


@pytest.fixture
def touched() -> TouchedRows:
    """Rows 1, 4 and 6 of a table of eight, named five times."""
    ids = [torch.tensor([4, 1]), torch.tensor([[4, 6, 1]])]
    found = TouchedRows(ids, torch.zeros(8, 2))
    found.add(torch.tensor([4, 1]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    found.add(torch.tensor([4, 6]), torch.tensor([[10.0, 20.0], [5.0, 6.0]]))
    return found


def test_each_row_is_there_once_and_empty_places_are_no_row(touched: TouchedRows) -> None:
    assert touched.ids_C.tolist() == [1, 4, 6, 8, 8]
    assert touched.grad_CD.tolist() == [[3, 4], [11, 22], [5, 6], [0, 0], [0, 0]]


def test_there_are_no_more_places_than_rows() -> None:
    ids = torch.randint(0, 3, (100,), generator=torch.Generator().manual_seed(0))
    assert TouchedRows([ids], torch.zeros(3, 1)).ids_C.tolist() == [0, 1, 2, 3]


def test_sums_of_bf16_are_float32() -> None:
    table_VD = torch.zeros(4, 1, dtype=torch.bfloat16)
    assert TouchedRows([torch.tensor([1])], table_VD).grad_CD.dtype is torch.float32


@pytest.mark.parametrize("width", [1, 3, 8])
def test_tiles_put_together_are_the_gradient_of_the_table(touched: TouchedRows, width: int) -> None:
    by_tile = TouchedByTile(touched, width)
    whole = torch.zeros(8, 2)
    for first in range(0, 8, width):
        by_tile.add(whole[first : first + width], first)
    assert whole.nonzero()[:, 0].unique().tolist() == [1, 4, 6]
    assert whole[[1, 4, 6]].tolist() == [[3, 4], [11, 22], [5, 6]]
