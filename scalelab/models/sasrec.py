"""Encode histories by causal self-attention (SASRec, Kang & McAuley, 2018)."""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from scalelab.models import EncoderInput
from scalelab.models._blocks import (
    Block,
    check_transformer,
    reset_layers,
    segment_mask,
)
from scalelab.models._ligr import LiGRBlock
from scalelab.models._lookup import rows_at
from scalelab.models._options import (
    Activation,
    Dropout,
    HiddenDim,
    InitStd,
    InnerDim,
    NumBlocks,
    NumHeads,
)
from scalelab.models._positions import from_end
from scalelab.models.tables import item_table
from scalelab.models.users import user_table

__all__ = ["SASRec"]


class SASRec(nn.Module):
    """The encoder of SASRec over packed or padded rows, with one table for lookup and scores.

    Of the faults that "revisiting SASRec" lists (section 3.3) those of padding are absent: its row
    is zero and stays zero, no position embedding reaches a padding place, and nothing looks at
    padding. That of positions depends on `align`. With "start" a position counts from the start of
    its own history, whatever the length of the row, and the fault is absent. With "end" the last
    item of every history has the last position, as in rows padded on the left, and the fault is
    there: an earlier state depends on how many items follow it. On amazon-beauty "end" ranks
    better all the same (test NDCG@10 0.0563 against 0.0548), since there the query has a position
    that was trained for every user. `positions` = "relative" is what that paper proposes: a bias of
    attention by the distance back from the prediction, per block and head, learned, and no other
    positions. "rotary" turns queries and keys by their positions, "none" knows only what came
    before what. With these three an earlier state never depends on what follows it. The other
    correction of that paper serves any model: `batch.packer` = "prefixes".

    With `user_embedding` every training user u has a vector p_u, which is added to all states of
    the user's history before they are scored: the score of item i is (h_t + p_u) . e_i. That is the
    explicit user model that the paper mentions (its section III-D) and the personalisation that
    "revisiting SASRec" misses (its section 3.1). A user without a training history of two items, as
    all test users of `data.split` = "temporal", has p_u = 0. A row of this table takes as much as
    one of the item table, with its gradient and its optimizer's state: component `user_table`.

    `block` = "ligr" takes the block of LiGR, as eSASRec does: gates on both residuals and a gated
    feed-forward layer (SwiGLU where `activation` is "silu"), an inner width of 4 times `hidden_dim`
    where `inner_dim` is 0.

    `norm` = "pre" is the paper's (its Eq. 5 and section III-B); "post" normalises the embeddings
    and after each residual, as S3-Rec and RecBole do. `inner_dim` = 0 means `hidden_dim`, the
    paper's. `init_std` is the deviation of the normal distribution that all weight matrices start
    from.
    """

    def __init__(
        self,
        *,
        num_items: int,
        max_len: int,
        generator: Generator | None,
        hidden_dim: HiddenDim = 64,
        num_blocks: NumBlocks = 2,
        num_heads: NumHeads = 1,
        inner_dim: InnerDim = 0,
        dropout: Dropout = 0.2,
        norm: Annotated[
            Literal["pre", "post"],
            Field(description="layer norm before each part of a block, or after its residual"),
        ] = "pre",
        activation: Activation = "relu",
        init_std: InitStd = 0.02,
        align: Annotated[
            Literal["start", "end"],
            Field(description="the end of a history from which absolute positions are counted"),
        ] = "start",
        positions: Annotated[
            Literal["absolute", "relative", "rotary", "none"],
            Field(description="what the encoder knows of positions; relative: to the prediction"),
        ] = "absolute",
        block: Annotated[
            Literal["sasrec", "ligr"], Field(description="the block: SASRec's or that of eSASRec")
        ] = "sasrec",
        user_embedding: Annotated[
            bool,
            Field(description="whether a learned vector of the user is added to the hidden states"),
        ] = False,
    ) -> None:
        super().__init__()
        check_transformer(
            hidden_dim=hidden_dim,
            num_blocks=num_blocks,
            num_heads=num_heads,
            inner_dim=inner_dim,
            dropout=dropout,
            init_std=init_std,
        )
        if align == "end" and positions != "absolute":
            raise ValueError(f'align = "end" must be left out with positions = "{positions}"')
        if positions == "rotary" and (hidden_dim // num_heads) % 2:
            raise ValueError("rotary positions: hidden_dim / num_heads must be even")
        if block == "ligr" and norm == "post":
            raise ValueError('norm must be "pre" with block = "ligr"')
        self.init_std = init_std
        self.rotary = positions == "rotary"
        self.max_len = max_len
        self.align_end = align == "end"
        self.items = item_table(num_items, hidden_dim)
        self.users = user_table(hidden_dim) if user_embedding else None
        self.positions = (
            nn.Parameter(torch.empty(max_len, hidden_dim)) if positions == "absolute" else None
        )
        sizes: dict[str, Any] = {
            "hidden_dim": hidden_dim,
            "num_heads": num_heads,
            "dropout": dropout,
            "activation": activation,
            "max_len": max_len if positions == "relative" else 0,
        }
        self.blocks = nn.ModuleList(
            LiGRBlock(inner_dim=inner_dim or 4 * hidden_dim, **sizes)
            if block == "ligr"
            else Block(inner_dim=inner_dim or hidden_dim, norm_first=norm == "pre", **sizes)
            for _ in range(num_blocks)
        )
        self.norm = nn.LayerNorm(hidden_dim, eps=1e-8)
        self.norm_first = norm == "post"
        self.dropout = nn.Dropout(dropout)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: Generator | None) -> None:
        """Draw all weights anew, in place: matrices normal, biases 0, norms 1."""
        self.items.reset(self.init_std, generator)
        if self.positions is not None:
            self.positions.normal_(0.0, self.init_std, generator=generator)
        reset_layers(self, self.init_std, generator)
        if self.users is not None:
            self.users.reset(self.init_std, generator)

    @property
    def item_table_VD(self) -> Tensor:
        """The item table, (V, D), tied: the encoder looks items up in it too."""
        return self.items.rows_VD

    @property
    def user_table_UD(self) -> Tensor | None:
        """The table of users, None without `user_embedding`."""
        return None if self.users is None else self.users.weight

    def forward(self, inputs: EncoderInput) -> Tensor:
        """Hidden states, (B, L, D)."""
        positions_BL = from_end(inputs, self.max_len) if self.align_end else inputs.positions_BL
        hidden_BLD = self.encode(self.items(inputs.item_ids_BL), positions_BL, inputs.segments_BL)
        return hidden_BLD if self.users is None else hidden_BLD + self.users(inputs)

    def encode(self, x_BLD: Tensor, positions_BL: Tensor, segments_BL: Tensor) -> Tensor:
        """Embeddings to hidden states; apart from the lookup, so that it can be compiled."""
        if self.positions is not None:
            is_item_BL1 = (segments_BL > 0).unsqueeze(-1)
            x_BLD = x_BLD + rows_at(self.positions, positions_BL) * is_item_BL1
        if self.norm_first:
            x_BLD = self.norm(x_BLD)
        x_BLD = self.dropout(x_BLD)
        mask_B1LL = segment_mask(segments_BL)
        for block in self.blocks:
            x_BLD = block(x_BLD, mask_B1LL, positions_BL if self.rotary else None)
        return x_BLD if self.norm_first else self.norm(x_BLD)
