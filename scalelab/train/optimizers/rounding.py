"""Round rows to the type of their table, up or down by chance where that is bf16."""

import torch
from torch import Tensor

__all__ = ["StochasticRounding"]

# bf16 is the upper half of float32.
_LOWER_BITS = 16


class StochasticRounding:
    """A float32 number between two of bf16 becomes one of these, the nearer the more likely.

    Its mean is the number itself. The random bits depend on the seed, the number of the update and
    the place of the tile, so that a training that goes on from a checkpoint draws those that it
    would have drawn.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generator: torch.Generator | None = None

    def write(self, own_WD: Tensor, rows_WD: Tensor, number: int, place: int) -> None:
        """Put updated rows where they belong; rows of the table's own type are there already."""
        if own_WD.dtype != rows_WD.dtype:
            own_WD.copy_(self.rounded(rows_WD, own_WD.dtype, number, place))

    def rounded(self, rows_WD: Tensor, dtype: torch.dtype, number: int, place: int) -> Tensor:
        """The rows as `dtype`; they are overwritten where that is another one."""
        if rows_WD.dtype == dtype:
            return rows_WD
        bits_WD = rows_WD.view(torch.int32)
        # Four times 16 random bits come in one draw.
        draws = torch.empty(-(-bits_WD.numel() // 4), dtype=torch.int64, device=bits_WD.device)
        draws.random_(-(2**63), None, generator=self._seeded(rows_WD, number, place))
        noise = draws.view(torch.int16)[: bits_WD.numel()].view(bits_WD.shape)
        bits_WD.add_(noise).add_(2 ** (_LOWER_BITS - 1)).bitwise_and_(-(2**_LOWER_BITS))
        return rows_WD.to(dtype)

    def _seeded(self, like: Tensor, number: int, place: int) -> torch.Generator | None:
        """None under fake tensors, which draw nothing."""
        if isinstance(like, torch._subclasses.FakeTensor):
            return None
        if self._generator is None:
            self._generator = torch.Generator(like.device)
        key = (self._seed * 1_000_003 + number) * 2_147_483_647 + place
        return self._generator.manual_seed(key % 2**63)
