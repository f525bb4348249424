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
    with torch.no_grad():
        made.positions.normal_(generator=torch.Generator().manual_seed(0))
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
