"""SASRec's own options: where positions count from, and which are refused."""

import pytest
import torch

from scalelab.models import EncoderInput
from scalelab.models.sasrec import SASRec

MAX_LEN = 6


def model(**options: object) -> SASRec:
    made = SASRec(
        num_items=9, max_len=MAX_LEN, generator=None, hidden_dim=4, dropout=0.0, **options
    ).double()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in made.parameters():
            if weight is not made.items.weight:
                weight.normal_(generator=draw)
    return made


def inputs(items: list[list[int]], segments: list[list[int]], num: int) -> EncoderInput:
    item_ids, segment_ids = torch.tensor(items), torch.tensor(segments, dtype=torch.int32)
    positions = torch.zeros_like(segment_ids)
    for row, segment in enumerate(segments):
        for column in range(1, MAX_LEN):
            if segment[column] and segment[column] == segment[column - 1]:
                positions[row, column] = positions[row, column - 1] + 1
    return EncoderInput(item_ids, segment_ids, positions, num)


PACKED = inputs([[3, 1, 2, 5, 4, 0]], [[1, 1, 1, 2, 2, 0]], 2)
PADDED = inputs(
    [[0, 0, 0, 3, 1, 2], [0, 0, 0, 0, 5, 4]], [[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 2, 2]], 2
)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_last_item_has_the_last_position(norm: str) -> None:
    made = model(align="end", norm=norm)
    # Rows of the paper: padding on the left, a position for every column.
    columns = torch.arange(MAX_LEN).expand(2, MAX_LEN)
    expected = made.encode(made.items(PADDED.item_ids_BL), columns, PADDED.segments_BL)
    torch.testing.assert_close(
        made(PADDED)[PADDED.segments_BL > 0], expected[PADDED.segments_BL > 0], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("align", ["start", "end"])
def test_packed_and_padded_rows_agree(align: str) -> None:
    made = model(align=align)
    packed, padded = made(PACKED), made(PADDED)
    torch.testing.assert_close(packed[0, :3], padded[0, 3:], rtol=0, atol=1e-10)
    torch.testing.assert_close(packed[0, 3:5], padded[1, 4:], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "options",
    [{"hidden_dim": 6, "num_heads": 4}, {"dropout": 1.0}, {"num_blocks": -1}, {"init_std": 0.0}],
)
def test_options_that_make_no_model_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        SASRec(num_items=9, max_len=MAX_LEN, generator=None, **options)


HISTORY = [3, 1, 2, 5, 4, 7]
OTHERS = [{"positions": name} for name in ("relative", "rotary", "none")]
BLOCKS = [{"block": "sasrec"}, {"block": "ligr"}]


def history(items: list[int]) -> EncoderInput:
    """One row, padded on the left."""
    empty = MAX_LEN - len(items)
    return inputs([[0] * empty + items], [[0] * empty + [1] * len(items)], 1)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
@pytest.mark.parametrize("positions", [{}, *OTHERS], ids=str)
def test_the_state_of_a_prefix_is_independent_of_what_follows(
    positions: dict[str, str], block: dict[str, str]
) -> None:
    made = model(num_heads=2, **positions, **block)
    whole = made(history(HISTORY))[0]
    for length in range(1, MAX_LEN + 1):
        alone = made(history(HISTORY[:length]))[0, -1]
        torch.testing.assert_close(whole[length - 1], alone, rtol=0, atol=1e-10)


def test_counted_from_the_end_the_state_of_a_prefix_depends_on_what_follows() -> None:
    made = model(align="end")
    whole, alone = made(history(HISTORY))[0, 2], made(history(HISTORY[:3]))[0, -1]
    assert (whole - alone).abs().max() > 1e-3


@pytest.mark.parametrize("block", BLOCKS, ids=str)
@pytest.mark.parametrize("positions", OTHERS, ids=str)
def test_packed_and_padded_rows_agree_whatever_the_positions(
    positions: dict[str, str], block: dict[str, str]
) -> None:
    made = model(num_heads=2, **positions, **block)
    packed, padded = made(PACKED), made(PADDED)
    torch.testing.assert_close(packed[0, :3], padded[0, 3:], rtol=0, atol=1e-10)
    torch.testing.assert_close(packed[0, 3:5], padded[1, 4:], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("positions", "knows"),
    [({}, True), ({"positions": "none"}, False)] + [(each, True) for each in OTHERS[:2]],
)
def test_without_positions_only_what_came_before_counts_and_not_in_which_order(
    positions: dict[str, str], knows: bool
) -> None:
    """One block: two items before the last one change places."""
    made = model(num_heads=2, num_blocks=1, **positions)
    change = made(history([3, 1, 2]))[0, -1] - made(history([1, 3, 2]))[0, -1]
    assert bool(change.abs().max() > 1e-6) == knows


def plain_attention(made: SASRec, x_LD: torch.Tensor) -> torch.Tensor:
    """The first block's attention with a bias by distance, position by position."""
    attention = made.blocks[0].attention
    query, key, value = attention.query_key_value(x_LD).chunk(3, dim=1)
    heads, width = attention.num_heads, x_LD.size(1) // attention.num_heads
    mixed = torch.zeros_like(x_LD)
    for i in range(len(x_LD)):
        for h in range(heads):
            own = slice(h * width, (h + 1) * width)
            scores = torch.stack(
                [
                    query[i, own] @ key[j, own] / width**0.5
                    + attention.distance_bias.weight[h, i - j]
                    for j in range(i + 1)
                ]
            )
            mixed[i, own] = scores.softmax(0) @ value[: i + 1, own]
    return attention.out(mixed)


def test_a_relative_position_is_a_learned_bias_by_distance_and_head() -> None:
    made = model(num_heads=2, num_blocks=1, positions="relative").eval()
    x_LD = torch.randn(MAX_LEN, 4, dtype=torch.float64)
    mask = torch.ones(1, 1, MAX_LEN, MAX_LEN, dtype=torch.bool).tril()
    found = made.blocks[0].attention(x_LD[None], mask)[0]
    torch.testing.assert_close(found, plain_attention(made, x_LD), rtol=0, atol=1e-12)
    assert made.positions is None


def test_a_block_of_ligr_gates_both_residuals() -> None:
    made = model(num_blocks=1, block="ligr", activation="silu").eval()
    block = made.blocks[0]
    x_BLD = torch.randn(1, MAX_LEN, 4, dtype=torch.float64)
    mask = torch.ones(1, 1, MAX_LEN, MAX_LEN, dtype=torch.bool).tril()
    gate = torch.sigmoid(block.attention_gate(x_BLD))
    once = x_BLD + gate * block.attention(block.attention_norm(x_BLD), mask)
    part, inside = block.feed_forward, block.feed_forward_norm(once)
    swish = torch.nn.functional.silu(part.gate(inside))
    gate = torch.sigmoid(block.feed_forward_gate(once))
    expected = once + gate * part.outer(swish * part.inner(inside))
    torch.testing.assert_close(block(x_BLD, mask), expected, rtol=0, atol=1e-12)
    assert part.inner.out_features == 16


@pytest.mark.parametrize(
    "options",
    [
        {"align": "end", "positions": "relative"},
        {"hidden_dim": 6, "num_heads": 2, "positions": "rotary"},
        {"norm": "post", "block": "ligr"},
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        SASRec(num_items=9, max_len=MAX_LEN, generator=None, **options)
