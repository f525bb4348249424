"""Give a model a table of users: one row for each user of the training data.

A model that wants one gets it from `user_table(hidden_dim)` and has a property `user_table_UD`
return its `weight` (None where an option leaves the table out). The run then gives `forward` the
row of each sequence's user, `inputs.user_rows_S`, in training and when it ranks. Row 0 is that of
users without a training history of two items: it is zero and never gets a gradient.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from scalelab.models import EncoderInput
from scalelab.models._lookup import rows_at

__all__ = ["UserTable", "num_users_are", "user_table", "user_table_of"]

_num_users: ContextVar[int] = ContextVar("num_users", default=0)


class UserTable(nn.Module):
    """A row of numbers for each training user, looked up for all positions of a sequence."""

    def __init__(self, num_users: int, hidden_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_users + 1, hidden_dim))

    def forward(self, inputs: EncoderInput) -> Tensor:
        """The row of the user at each position, zero on padding: (B, L, D)."""
        rows_S = inputs.user_rows_S
        if rows_S is None:
            raise ValueError("a table of users, and the inputs do not say whose they are")
        # A row for each sequence, then one for each position: to add gradients up, a GPU sorts what
        # it looks up, and how much of its memory that takes depends on how many rows there are.
        own_SD = F.embedding(rows_S, self.weight, padding_idx=0)
        of_segments = torch.cat([torch.zeros_like(own_SD[:1]), own_SD])  # segment 0 is padding
        return rows_at(of_segments, inputs.segments_BL)

    @torch.no_grad()
    def reset(self, std: float, generator: Generator | None) -> None:
        """Normal(0, std) everywhere but in row 0, which is zero and stays so."""
        self.weight.normal_(0.0, std, generator=generator)
        self.weight[0].zero_()


def user_table(hidden_dim: int) -> UserTable:
    """A table for the users of the run that the model is built for. Raises ValueError without."""
    number = _num_users.get()
    if number < 1:
        raise ValueError("a table of users needs a run with training users")
    return UserTable(number, hidden_dim)


@contextmanager
def num_users_are(number: int) -> Iterator[None]:
    """Inside, `user_table` makes a table of so many users."""
    token = _num_users.set(number)
    try:
        yield
    finally:
        _num_users.reset(token)


def user_table_of(model: nn.Module) -> Tensor | None:
    """The table of users that a model has."""
    return getattr(model, "user_table_UD", None)
