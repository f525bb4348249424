"""Look rows of a table up so that their gradients add up to the same bits every time."""

import torch
import torch.nn.functional as F
from torch import Tensor

from scalelab.core.target import kind_of_device

__all__ = ["rows_at"]

# Embedding.cu sorts more ids than these and cuts long runs of equal ids into pieces, which it adds
# in any order: seen on an H100 (torch 2.11), with 9,400 ids of 50 rows.
_UNSORTED = 3072


def rows_at(table_RD: Tensor, ids: Tensor) -> Tensor:
    """`table_RD[ids]`, of shape (*ids.shape, D).

    Many ids may be equal, as those of positions are. Neither way of torch always adds their
    gradients in one order: on a GPU `F.embedding` does not where there are many ids, on a CPU
    indexing does not where several threads share it.
    """
    many = ids.numel() > _UNSORTED and torch.is_grad_enabled() and table_RD.requires_grad
    if many and kind_of_device(table_RD.device.type) == "cuda":
        return table_RD[ids.long()]
    return F.embedding(ids, table_RD)
