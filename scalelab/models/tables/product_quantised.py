"""Make the row of an item from codewords that items share (RecJPQ, Petrov & Macdonald, 2024)."""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from scalelab.models._lookup import rows_at
from scalelab.models.tables._composed import ComposedRows

__all__ = ["ProductQuantised"]


class ProductQuantised(nn.Module):
    """A row is `num_parts` codewords side by side, each one of `num_codes`.

    An item keeps its codes alone: `num_parts` bytes, in place of 4 * hidden_dim. Codes are drawn
    at random and stay (RecJPQ's "random" assignment); its assignments by SVD and BPR, which put
    like items together, are not there. All codewords start normal.
    """

    makes_rows: ClassVar[bool] = True

    def __init__(
        self,
        *,
        num_items: int,
        hidden_dim: int,
        dtype: torch.dtype,
        num_parts: Annotated[
            int, Field(gt=0, description="codewords that a row is made of, a byte an item each")
        ] = 8,
        num_codes: Annotated[
            int, Field(gt=1, le=256, description="codewords that each part chooses from")
        ] = 256,
    ) -> None:
        super().__init__()
        if hidden_dim % num_parts:
            raise ValueError(
                f"hidden_dim = {hidden_dim} must be a multiple of num_parts = {num_parts}"
            )
        if dtype is not torch.float32:
            raise ValueError("its codewords are few, and are kept in fp32 only")
        width = hidden_dim // num_parts
        self.num_codes = num_codes
        self.codewords = nn.Parameter(torch.empty(num_parts * num_codes, width, dtype=dtype))
        codes_VM = torch.empty(num_items + 1, num_parts, dtype=torch.uint8)
        self.register_buffer("codes", codes_VM)

    @property
    def rows_VD(self) -> ComposedRows:
        """All rows, the padding row first."""
        assert isinstance(self.codes, Tensor)
        return ComposedRows(self.codes, self.codewords)

    def forward(self, ids_BL: Tensor) -> Tensor:
        """Embeddings of `ids_BL`, (B, L, D)."""
        rows = self.rows_VD
        codes = rows.codes_VM.index_select(0, ids_BL.flatten())
        rows_BLD = rows_at(self.codewords, rows.places(codes)).view(*ids_BL.shape, -1)
        return rows_BLD * (ids_BL > 0).unsqueeze(-1)

    @torch.no_grad()
    def reset(self, std: float, generator: Generator | None) -> None:
        """Draw codes, each as likely, and codewords from Normal(0, std)."""
        assert isinstance(self.codes, Tensor)
        self.codes.random_(0, self.num_codes, generator=generator)
        self.codewords.normal_(0.0, std, generator=generator)
