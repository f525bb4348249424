"""Which pairs of a position and an item RECE counts: the rules of `Visible`, one by one."""

import math

import pytest
import torch

from scalelab.losses._rece import Chunks, Rounds  # noqa: PLC2701
from scalelab.losses._rece_tiles import Visible  # noqa: PLC2701

NUM_CHUNKS, PAD = 5, 0


def _visible(
    positions: list[list[int]], items: list[list[int]], *, targets: list[int], reach: int = 1
) -> torch.Tensor:
    """(N, V) bool: whether a pair counts, read from the gradient of the log-sum-exp.

    `positions` and `items` are the chunk of each position and item, round by round.
    """
    num_positions, num_items = len(positions[0]), len(items[0])
    found = Visible(
        # Each position is a unit vector, so that its row of the gradient tells its items apart.
        hidden_ND=torch.eye(num_positions, dtype=torch.float64),
        table_VD=torch.zeros(num_items, num_positions, dtype=torch.float64),
        targets_N=torch.tensor(targets, dtype=torch.int32),
        pad_id=PAD,
        rounds=Rounds(
            reach=reach,
            positions=tuple(_chunks(each, num_positions) for each in positions),
            items=tuple(_chunks(each, PAD, around=reach) for each in items),
        ),
        compute_dtype=torch.float64,
    )
    # A target's score of 0 to begin with; every counted pair adds exp(0) = 1.
    lse_P = torch.zeros(num_positions + 1, dtype=torch.float64)
    lse_P[-1] = math.inf
    found.log_sum(lse_P)
    counted_N = lse_P[:-1].exp() - 1
    grad_VD = torch.zeros(num_items, num_positions, dtype=torch.float64)
    found.gradients(lse_P, None, grad_VD, known=True)
    counted_VN = grad_VD * num_positions * lse_P[:-1].exp()
    assert torch.allclose(counted_VN.sum(0), counted_N), "each pair counts once"
    assert set(counted_VN.round(decimals=9).unique().tolist()) <= {0.0, 1.0}
    return counted_VN.round().bool().T


def _chunks(chunk: list[int], filler: int, around: int = 0) -> Chunks:
    """Chunks with these members; every chunk has room for the largest."""
    members = [[i for i, c in enumerate(chunk) if c == number] for number in range(NUM_CHUNKS)]
    size = max(map(len, members))
    slots = [each + [filler] * (size - len(each)) for each in members]
    empty = [[filler] * size] * around
    return Chunks(
        slots_CM=torch.tensor([*empty, *slots, *empty], dtype=torch.int32),
        chunk_M=torch.tensor(chunk, dtype=torch.int16),
    )


def test_a_position_sees_its_own_chunk_and_those_beside_it() -> None:
    """The picture: chunks 0 to 4, one position and one item in each; item 0 is the padding row."""
    seen = _visible([[0, 1, 2, 3, 4]], [[0, 0, 1, 2, 3, 4]], targets=[0] * 5)
    assert seen[:, 1:].int().tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1],
    ]


@pytest.mark.parametrize("reach", [0, 1, 2])
def test_the_reach_is_the_number_of_chunks_on_each_side(reach: int) -> None:
    seen = _visible([[0, 1, 2, 3, 4]], [[0, 0, 1, 2, 3, 4]], targets=[0] * 5, reach=reach)
    for position in range(5):
        expected = [abs(position - chunk) <= reach for chunk in range(5)]
        assert seen[position, 1:].tolist() == expected


def test_the_padding_row_and_the_target_are_never_seen() -> None:
    seen = _visible([[0, 0, 0, 0, 0]], [[0, 0, 0, 0]], targets=[1, 2, 3, 1, 2])
    assert not seen[:, PAD].any()
    for position, target in enumerate([1, 2, 3, 1, 2]):
        assert seen[position].tolist() == [item not in (PAD, target) for item in range(4)]


def test_a_pair_that_several_rounds_show_counts_once() -> None:
    """The example: position 0 stands for 7, items 1, 2 and 3 for 30, 31 and 32."""
    seen = _visible([[2], [4]], [[0, 3, 0, 1], [0, 0, 3, 4]], targets=[0])
    assert seen[0].tolist() == [False, True, True, True]
    # In chunks 0 and 0 it is far from both.
    seen = _visible([[2], [4]], [[0, 0], [0, 0]], targets=[0])
    assert not seen.any()
