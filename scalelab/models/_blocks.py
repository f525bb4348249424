"""Provide what encoders share: attention within segments, feed-forward."""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from scalelab.models._options import Activation
from scalelab.models._positions import DistanceBias, rotated
from scalelab.models.one_order import add_in_one_order

__all__ = [
    "ACTIVATIONS",
    "Attention",
    "Block",
    "FeedForward",
    "check_transformer",
    "reset_layers",
    "segment_mask",
]

# What CUDA may take. Left to itself it takes cuDNN's attention on some GPUs, which is built anew
# for every new number of rows, and whose memory nobody can predict.
_KERNELS = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
# Up to so many keys go to one block of threads, which adds in order.
_KEYS_OF_A_BLOCK = 64
ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}


def segment_mask(segments_BL: Tensor, causal: bool = True) -> Tensor:
    """(B, 1, L, L) bool, True where a query may look: its own segment, itself or earlier.

    Padding is a segment of its own, so that no row of the softmax is empty (which would be NaN).
    """
    mask_BLL = segments_BL[:, :, None] == segments_BL[:, None, :]
    if causal:
        length = segments_BL.size(1)
        ones = torch.ones(length, length, dtype=torch.bool, device=segments_BL.device)
        mask_BLL = mask_BLL & ones.tril()
    return mask_BLL.unsqueeze(1)


class Attention(nn.Module):
    """Multi-head self-attention under a mask.

    With `max_len` above 0 scores get a learned bias per head and distance.
    """

    def __init__(self, hidden_dim: int, num_heads: int, dropout: float, max_len: int = 0) -> None:
        super().__init__()
        self.distance_bias = DistanceBias(num_heads, max_len) if max_len else None
        self.num_heads = num_heads
        self.dropout = dropout
        self.query_key_value = nn.Linear(hidden_dim, 3 * hidden_dim)
        self.out = nn.Linear(hidden_dim, hidden_dim)

    def forward(self, x_BLD: Tensor, mask_B1LL: Tensor, turn_by_BL: Tensor | None = None) -> Tensor:
        """(B, L, D) to (B, L, D); `turn_by_BL` are positions by which queries and keys turn."""
        B, L, D = x_BLD.shape
        heads = self.query_key_value(x_BLD).view(B, L, 3, self.num_heads, D // self.num_heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        if turn_by_BL is not None:
            query, key = rotated(query, turn_by_BL), rotated(key, turn_by_BL)
        if self.distance_bias is not None:
            mask_B1LL = self.distance_bias(mask_B1LL).to(query.dtype)
        dropout = self.dropout if self.training else 0.0
        with sdpa_kernel(_KERNELS) if query.is_cuda else nullcontext():
            mixed = F.scaled_dot_product_attention(
                query, key, value, attn_mask=mask_B1LL, dropout_p=dropout
            )
        if query.is_cuda and L > _KEYS_OF_A_BLOCK:
            add_in_one_order(mixed, (query, key, value, mask_B1LL))
        return self.out(mixed.transpose(1, 2).reshape(B, L, D))


class FeedForward(nn.Module):
    """Two layers with an activation and dropout between, position by position."""

    def __init__(self, hidden_dim: int, inner_dim: int, activation: Activation) -> None:
        super().__init__()
        self.inner = nn.Linear(hidden_dim, inner_dim)
        self.outer = nn.Linear(inner_dim, hidden_dim)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x_BLD: Tensor) -> Tensor:
        """(B, L, D) to (B, L, D)."""
        return self.outer(self.activation(self.inner(x_BLD)))


class Block(nn.Module):
    """Attention, then feed-forward, each with dropout, a residual and a layer norm."""

    def __init__(
        self,
        *,
        hidden_dim: int,
        num_heads: int,
        inner_dim: int,
        dropout: float,
        norm_first: bool,
        activation: Activation,
        max_len: int = 0,
    ) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.attention = Attention(hidden_dim, num_heads, dropout, max_len)
        self.feed_forward = FeedForward(hidden_dim, inner_dim, activation)
        self.attention_norm = nn.LayerNorm(hidden_dim, eps=1e-8)
        self.feed_forward_norm = nn.LayerNorm(hidden_dim, eps=1e-8)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor, mask_B1LL: Tensor, turn_by_BL: Tensor | None = None) -> Tensor:
        """(B, L, D) to (B, L, D)."""
        if self.norm_first:
            x_BLD = x_BLD + self.dropout(
                self.attention(self.attention_norm(x_BLD), mask_B1LL, turn_by_BL)
            )
            return x_BLD + self.dropout(self.feed_forward(self.feed_forward_norm(x_BLD)))
        x_BLD = self.attention_norm(
            x_BLD + self.dropout(self.attention(x_BLD, mask_B1LL, turn_by_BL))
        )
        return self.feed_forward_norm(x_BLD + self.dropout(self.feed_forward(x_BLD)))


@torch.no_grad()
def reset_layers(model: nn.Module, std: float, generator: Generator | None) -> None:
    """Draw linear layers anew, in place: weights normal, biases 0; norms become 1."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight.normal_(0.0, std, generator=generator)
            module.bias.zero_()
        elif isinstance(module, nn.LayerNorm):
            module.reset_parameters()
        elif isinstance(module, DistanceBias):
            module.reset(std, generator)


def check_transformer(
    *,
    hidden_dim: int,
    num_blocks: int,
    num_heads: int,
    inner_dim: int,
    dropout: float,
    init_std: float,
) -> None:
    """Raises ValueError for sizes that no transformer has."""
    if hidden_dim < 1 or num_heads < 1 or hidden_dim % num_heads:
        raise ValueError(f"hidden_dim = {hidden_dim} must be a multiple of num_heads = {num_heads}")
    if num_blocks < 0 or inner_dim < 0 or init_std <= 0:
        raise ValueError("num_blocks and inner_dim must be 0 or more, init_std above 0")
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout must lie in [0, 1), got {dropout}")
