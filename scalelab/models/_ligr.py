"""Provide the block of LiGR, which eSASRec takes: gates on residuals and in the feed-forward."""

import torch
from torch import Tensor, nn

from scalelab.models._blocks import ACTIVATIONS, Attention
from scalelab.models._options import Activation

__all__ = ["LiGRBlock"]


class _GatedFeedForward(nn.Module):
    """outer(activation(gate(x)) * inner(x)); with "silu" it is SwiGLU."""

    def __init__(self, hidden_dim: int, inner_dim: int, activation: Activation) -> None:
        super().__init__()
        self.gate = nn.Linear(hidden_dim, inner_dim)
        self.inner = nn.Linear(hidden_dim, inner_dim)
        self.outer = nn.Linear(inner_dim, hidden_dim)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.outer(self.activation(self.gate(x_BLD)) * self.inner(x_BLD))


class LiGRBlock(nn.Module):
    """x + sigmoid(W x) * part(norm(x)) for attention, then for the feed-forward layer."""

    def __init__(
        self,
        *,
        hidden_dim: int,
        num_heads: int,
        inner_dim: int,
        dropout: float,
        activation: Activation,
        max_len: int = 0,
    ) -> None:
        super().__init__()
        self.attention = Attention(hidden_dim, num_heads, dropout, max_len)
        self.feed_forward = _GatedFeedForward(hidden_dim, inner_dim, activation)
        self.attention_gate = nn.Linear(hidden_dim, hidden_dim)
        self.feed_forward_gate = nn.Linear(hidden_dim, hidden_dim)
        self.attention_norm = nn.LayerNorm(hidden_dim, eps=1e-8)
        self.feed_forward_norm = nn.LayerNorm(hidden_dim, eps=1e-8)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor, mask_B1LL: Tensor, turn_by_BL: Tensor | None = None) -> Tensor:
        """(B, L, D) to (B, L, D)."""
        mixed_BLD = self.attention(self.attention_norm(x_BLD), mask_B1LL, turn_by_BL)
        x_BLD = x_BLD + self.dropout(torch.sigmoid(self.attention_gate(x_BLD)) * mixed_BLD)
        del mixed_BLD
        fed_BLD = self.feed_forward(self.feed_forward_norm(x_BLD))
        return x_BLD + self.dropout(torch.sigmoid(self.feed_forward_gate(x_BLD)) * fed_BLD)
