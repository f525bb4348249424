"""Cut positions and items into chunks whose members share a nearest random vector."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from scalelab.losses import tile_repeats
from scalelab.losses._tiles import is_fake, tile_numbers, tile_ranges

__all__ = ["Chunks", "Rounds", "cut", "earlier_rounds", "nearest", "round_numbers", "rounds"]

# Scores on random vectors looked at at a time: 2 MiB of float32 stay in the cache of a CPU.
_SCORES = 2**19


@dataclass(frozen=True, kw_only=True)
class Chunks:
    """M rows sorted and cut into C chunks of at most `size` rows.

    `slots_CM` (C, size) holds the rows of each chunk; places left over hold the filler.
    `chunk_M` (M,) int16 or int32 is the chunk of each row.
    """

    slots_CM: Tensor
    chunk_M: Tensor

    @property
    def size(self) -> int:
        """Places in a chunk."""
        return self.slots_CM.shape[1]


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """Chunks of N positions and V items, round by round; chunks see others at most `reach` away.

    Fillers are N among positions and the padding row among items, whose slots carry `reach` chunks
    of fillers before and after, so that every window of 2 reach + 1 chunks is of one shape.
    """

    reach: int
    positions: tuple[Chunks, ...]
    items: tuple[Chunks, ...]


def rounds(
    hidden_ND: Tensor,
    table_VD: Tensor,
    vectors_RBD: Tensor,
    *,
    num_chunks: int,
    reach: int,
    pad_id: int,
) -> Rounds:
    """All rounds of RECE; where one shows everything, a single chunk in a single round."""
    all_seen = reach >= num_chunks - 1
    if all_seen:
        vectors_RBD, num_chunks, reach = vectors_RBD[:1, :1], 1, 0
    positions = [cut(nearest(hidden_ND, v), num_chunks, hidden_ND.shape[0]) for v in vectors_RBD]
    items = [cut(nearest(table_VD, v), num_chunks, pad_id) for v in vectors_RBD]
    around = [
        Chunks(slots_CM=F.pad(c.slots_CM, (0, 0, reach, reach), value=pad_id), chunk_M=c.chunk_M)
        for c in items
    ]
    return Rounds(reach=reach, positions=tuple(positions), items=tuple(around))


def round_numbers(number: int, like: Tensor) -> Iterator[int]:
    """0 to `number` - 1; of fake tensors the first three at most, as more rounds would take long.

    The first round skips no pairs, the second those of one round, and what the third allocates and
    leaves behind every later one does too: so three have the peak of them all. `tile_repeats` says
    how many the third stands for.
    """
    if not is_fake(like) or number <= 3:
        yield from range(number)
        return
    around = tile_repeats.get()
    try:
        for each, repeats in ((0, 1), (1, 1), (2, number - 2)):
            tile_repeats.set(around * repeats)
            yield each
    finally:
        tile_repeats.set(around)


def earlier_rounds(round_number: int, number: int, like: Tensor) -> Iterator[int]:
    """0 to `round_number` - 1, inside `round_numbers(number)`.

    Where the third round stands for all from it on, they have (number - 2) (number + 1) / 2 earlier
    ones together: the first of each, and the second stands for the others.
    """
    if not is_fake(like) or number <= 3 or round_number < 2:
        yield from range(round_number)
        return
    around = tile_repeats.get()
    try:
        for each, repeats in ((0, around), (1, around * (number - 1) // 2)):
            tile_repeats.set(repeats)
            yield each
    finally:
        tile_repeats.set(around)


def nearest(rows_MD: Tensor, vectors_BD: Tensor) -> Tensor:
    """Index of the vector with the largest inner product, (M,), the first of several equal ones.

    Scores are looked at in blocks and never kept: one small number a row remains.
    """
    num_rows, num_vectors = rows_MD.shape[0], vectors_BD.shape[0]
    index_M = torch.empty(num_rows, dtype=_small(num_vectors), device=rows_MD.device)
    # Beside its score in float32 a number has a share of the row's copy and of its index.
    numbers = tile_numbers(rows_MD, _SCORES, 8)
    size = max(1, min(num_rows, numbers // num_vectors))
    scores = torch.empty(size, num_vectors, dtype=vectors_BD.dtype, device=rows_MD.device)
    for start, stop in tile_ranges(num_rows, size, rows_MD):
        block = scores[: stop - start]
        torch.mm(rows_MD[start:stop].to(vectors_BD.dtype), vectors_BD.T, out=block)
        index_M[start:stop] = block.argmax(1)
    return index_M


def cut(index_M: Tensor, num_chunks: int, filler: int) -> Chunks:
    """Rows stably sorted by index and cut by the paper's floor rule.

    The row at place i of M sorted ones belongs to chunk floor(i C / M) (Algorithm 1, line 8), so
    sizes differ by one at most and follow from C and M alone.
    """
    num_rows, device = index_M.shape[0], index_M.device
    order_M = torch.sort(index_M, stable=True).indices
    starts_C1 = torch.arange(num_chunks + 1, device=device)
    starts_C1 = (starts_C1 * num_rows + num_chunks - 1) // num_chunks
    places = starts_C1[:-1, None] + torch.arange(-(-num_rows // num_chunks), device=device)
    beyond = places >= starts_C1[1:, None]
    slots_CM = order_M.index_select(0, places.clamp_(max=num_rows - 1).view(-1)).view(beyond.shape)
    slots_CM = slots_CM.masked_fill_(beyond, filler).to(torch.int32)
    chunk_M = torch.empty(num_rows, dtype=_small(num_chunks), device=device)
    chunk_of_place = torch.arange(num_rows, device=device) * num_chunks // num_rows
    chunk_M[order_M] = chunk_of_place.to(chunk_M.dtype)
    return Chunks(slots_CM=slots_CM, chunk_M=chunk_M)


def _small(count: int) -> torch.dtype:
    # Differences of two chunk numbers must fit as well.
    return torch.int16 if count < 2**15 else torch.int32
