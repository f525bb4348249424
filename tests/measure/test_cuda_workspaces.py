"""What operations on CUDA take for themselves: the rules against an allocator's own record.

The figures are requested bytes, alive at once beside the result, from `_record_memory_history` on
an H200 with torch 2.11.0+cu130.
"""

from collections.abc import Iterator

import pytest
import torch

from scalelab.core.target import Target, predicted_target
from scalelab.measure.cuda_workspaces import RULES

aten = torch.ops.aten
H200 = Target("cuda", 143_155 * 2**20, (9, 0), triton=True, multiprocessors=132)


@pytest.fixture(autouse=True)
def predicting() -> Iterator[None]:
    before = predicted_target.set(H200)
    yield
    predicted_target.reset(before)


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


@pytest.mark.parametrize(
    ("shape", "dims", "recorded"),
    [
        ((2630, 192), [0], 4_128_768 + 8),  # the gradient of a bias
        ((64, 1_000_001), None, 2112 + 4),
        ((100, 64), [0], 0),
    ],
)
def test_sums(shape: tuple[int, ...], dims: list[int] | None, recorded: int) -> None:
    values = meta(*shape)
    assert RULES[aten.sum.dim_IntList]((values, dims), values) == recorded


def test_maxima_over_the_last_dimension() -> None:
    values = meta(64, 1_000_001)
    assert RULES[aten.amax.default]((values, [1]), values) == 2304 + 256


@pytest.mark.parametrize(
    ("ids", "rows", "storage"),
    [
        (1000, 5000, 1),
        (2630, 12_102, 48_127),
        (51_200, 200_000, 838_143),
        (10**5, 10**3, 1_627_135),
    ],
)
def test_adding_rows_by_their_sorted_ids(ids: int, rows: int, storage: int) -> None:
    found = RULES[aten.index_put_.default](
        (meta(rows, 64), [meta(ids, dtype=torch.int64)], meta(ids, 64), True), None
    )
    assert found == 4 * 8 * ids + storage


@pytest.mark.parametrize(
    ("count", "dtype", "recorded"),
    [
        (2630, torch.int16, 5260 + 21_040),
        (51_200, torch.int16, 102_400 + 409_600 + 526_847),
        (100_000, torch.int16, 200_000 + 800_000 + 1_023_231),
        (51_200, torch.int64, 409_600 + 848_383),
        (100_000, torch.int64, 800_000 + 1_639_423),
    ],
)
def test_sorting(count: int, dtype: torch.dtype, recorded: int) -> None:
    values = meta(count, dtype=dtype)
    assert RULES[aten.sort.stable]((values,), (values, values)) == recorded


@pytest.mark.parametrize(
    ("dtype", "batch", "length", "recorded"),
    [
        # Sums, and the gradient of the query gathered in tiles, 64 x 64 floats each.
        (torch.float32, 40, 50, 16_000 + 1_312_000),
        (torch.bfloat16, 40, 50, 16_000 + 1_312_000),
        (torch.float32, 20, 200, 32_000 + 2_624_000),
    ],
)
def test_gradients_of_attention(dtype: torch.dtype, batch: int, length: int, recorded: int) -> None:
    heads = meta(batch, 2, length, 32, dtype=dtype)
    rule = RULES[aten._scaled_dot_product_efficient_attention_backward.default]
    assert rule((heads, heads, heads, heads), None) == recorded
