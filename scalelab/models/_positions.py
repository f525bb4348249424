"""Tell the encoder of positions: counted from the end, by a learned bias, by turning vectors."""

import torch
from torch import Generator, Tensor, nn

from scalelab.models import EncoderInput
from scalelab.models._lookup import rows_at

__all__ = ["DistanceBias", "from_end", "rotated"]

_BASE = 10_000.0


class DistanceBias(nn.Module):
    """A number per head and distance that is added to a score of attention, learned.

    The distance is counted back from the position that predicts, so a state depends on nothing that
    follows it.
    """

    def __init__(self, num_heads: int, max_len: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_heads, max_len))

    @torch.no_grad()
    def reset(self, std: float, generator: Generator | None) -> None:
        """Normal(0, std)."""
        self.weight.normal_(0.0, std, generator=generator)

    def forward(self, mask_B1LL: Tensor) -> Tensor:
        """(B, H, L, L): the bias where a query may look, else -inf."""
        length = mask_B1LL.size(-1)
        column_L = torch.arange(length, device=mask_B1LL.device)
        # A sequence lies in one piece, so two of its positions are as far apart as their columns.
        distance_LL = (column_L[:, None] - column_L).clamp_(min=0)
        bias_HLL = rows_at(self.weight.T, distance_LL).permute(2, 0, 1)
        return torch.where(mask_B1LL, bias_HLL, -torch.inf)


def rotated(x_BHLE: Tensor, positions_BL: Tensor) -> Tensor:
    """Pairs of numbers turned by an angle that grows with the position (Su et al., 2021).

    The inner product of two such vectors depends on the distance of their positions alone.
    """
    half = x_BHLE.size(-1) // 2
    step_E = torch.arange(half, device=x_BHLE.device, dtype=torch.float32) / half
    angle_B1LE = (positions_BL.unsqueeze(-1) * _BASE**-step_E).unsqueeze(1)
    cos, sin = angle_B1LE.cos().to(x_BHLE.dtype), angle_B1LE.sin().to(x_BHLE.dtype)
    first, second = x_BHLE[..., :half], x_BHLE[..., half:]
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


def from_end(inputs: EncoderInput, max_len: int) -> Tensor:
    """Positions moved so that the last item of each sequence has the last one, (B, L)."""
    segments = inputs.segments_BL.flatten().long()
    length = segments.new_zeros(inputs.num_sequences + 1)
    length.scatter_add_(0, segments, torch.ones_like(segments))
    first_BL = (max_len - length)[inputs.segments_BL.long()]
    # Padding has no position; any will do.
    return torch.where(inputs.segments_BL > 0, first_BL + inputs.positions_BL, 0)
