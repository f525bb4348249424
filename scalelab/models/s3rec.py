"""Encode histories by an encoder that is pre-trained on items, attributes and segments (S3-Rec)."""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from scalelab.models import EncoderInput, PretrainingInput
from scalelab.models._blocks import Block, check_transformer, reset_layers, segment_mask
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
from scalelab.models._pretraining import attribute_loss, pairwise_loss
from scalelab.models.tables import item_table

__all__ = ["S3Rec"]


class S3Rec(nn.Module):
    """The encoder of S3-Rec (Zhou et al., 2020), over packed or padded rows.

    It looks in both directions in pre-training and back alone afterwards; there it is SASRec with
    norms after the residuals, positions counted from the end, and the loss of the run. Pre-training
    takes `pretrain_epochs` with an optimizer of its own and ends with the weights of its last
    epoch. Its objectives, as in the authors' code:

    - associated attributes: from the state of a visible item, which attributes the item has;
    - masked item: from the state of a masked item, that item rather than one the user has not;
    - masked attributes: from the state of a masked item, which attributes it has;
    - segment: from a history with a hidden segment, that segment rather than one from elsewhere.

    Attributes take the binary cross-entropy of all of them, the other two -log sigmoid of the
    difference of two probabilities. The sums over positions, weighted by `aap_weight`,
    `mip_weight`, `map_weight` and `sp_weight`, are divided by the number of histories. Without
    `attributes` there are only masked items and segments. The authors take every prefix of a
    history for a sample of its own, 100 to a step (`pretrain_samples` = "prefixes",
    `pretrain_batch_size` = 100; a first item alone, which has no context, is left out here). With
    "histories" each history is one sample in an epoch. The attributes stay at what their
    frequencies alone give for long before they are learned, and a pre-training that ends there
    changes little: on an eighth of amazon-beauty they began to fall after 1,200 updates of 100
    prefixes, and not in 2,200 of 20 histories. The ledger has each objective of each epoch in
    `metrics`, with the split `pretrain`.
    """

    pretrains: ClassVar[bool] = True

    def __init__(
        self,
        *,
        num_items: int,
        max_len: int,
        generator: Generator | None,
        hidden_dim: HiddenDim = 64,
        num_blocks: NumBlocks = 2,
        num_heads: NumHeads = 2,
        inner_dim: InnerDim = 0,
        dropout: Dropout = 0.5,
        activation: Activation = "gelu",
        init_std: InitStd = 0.02,
        attributes: Annotated[
            str, Field(description="file of item attributes, beside the data; empty: none")
        ] = "",
        pretrain_epochs: Annotated[
            int, Field(ge=0, description="epochs of pre-training; 0: none, the first weights")
        ] = 100,
        pretrain_samples: Annotated[
            Literal["histories", "prefixes"],
            Field(description="what an epoch of pre-training has once: histories, or all prefixes"),
        ] = "histories",
        pretrain_batch_size: Annotated[
            int, Field(ge=0, description="samples in a step of pre-training; 0: batch.size")
        ] = 0,
        mask_prob: Annotated[
            float, Field(gt=0, le=1, description="probability of masking an item in pre-training")
        ] = 0.2,
        aap_weight: Annotated[
            float, Field(ge=0, description="weight of associated attribute prediction")
        ] = 0.2,
        mip_weight: Annotated[
            float, Field(ge=0, description="weight of masked item prediction")
        ] = 1.0,
        map_weight: Annotated[
            float, Field(ge=0, description="weight of masked attribute prediction")
        ] = 1.0,
        sp_weight: Annotated[float, Field(ge=0, description="weight of segment prediction")] = 0.5,
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
        self.objective_weights = {
            "aap": aap_weight,
            "mip": mip_weight,
            "map": map_weight,
            "sp": sp_weight,
        }
        if pretrain_epochs and not any(self.objective_weights.values()):
            raise ValueError("one weight of an objective must be above 0, or pretrain_epochs 0")
        self.init_std, self.max_len, self.num_items = init_std, max_len, num_items
        self.items = item_table(num_items, hidden_dim)
        self.positions = nn.Parameter(torch.empty(max_len, hidden_dim))
        self.blocks = nn.ModuleList(
            Block(
                hidden_dim=hidden_dim,
                num_heads=num_heads,
                inner_dim=inner_dim or 4 * hidden_dim,
                dropout=dropout,
                norm_first=False,
                activation=activation,
            )
            for _ in range(num_blocks)
        )
        self.norm = nn.LayerNorm(hidden_dim, eps=1e-8)
        self.dropout = nn.Dropout(dropout)
        # After all that fine-tuning has: that starts alike with and without pre-training.
        self.heads = nn.ModuleDict()
        self.mask: nn.Parameter | None = None
        if pretrain_epochs:
            self.heads.update(
                {name: nn.Linear(hidden_dim, hidden_dim) for name in self.objective_weights}
            )
            self.mask = nn.Parameter(torch.empty(hidden_dim))
        self.attribute_table_AD: nn.Parameter | None = None
        self.item_attributes_VM: Tensor | None
        self.register_buffer("item_attributes_VM", None, persistent=False)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: Generator | None) -> None:
        """Draw all weights anew, in place: matrices normal, biases 0, norms 1."""
        self.items.reset(self.init_std, generator)
        self.positions.normal_(0.0, self.init_std, generator=generator)
        reset_layers(self, self.init_std, generator)
        for vectors in (self.mask, self.attribute_table_AD):
            if vectors is not None:
                vectors.normal_(0.0, self.init_std, generator=generator)

    @torch.no_grad()
    def take_attributes(self, num_attributes: int, most: int, generator: Generator | None) -> None:
        """Make the table of attributes, and lists of at most `most` for each item; 0 fills up."""
        width = self.positions.size(1)
        table_AD = torch.empty(num_attributes, width).normal_(
            0.0, self.init_std, generator=generator
        )
        self.attribute_table_AD = nn.Parameter(table_AD)
        own_VM = torch.zeros(self.num_items + 1, most, dtype=torch.int32)
        # They belong to the data, and are not kept with the weights.
        self.register_buffer("item_attributes_VM", own_VM, persistent=False)

    @property
    def item_table_VD(self) -> Tensor:
        """The item table, (V, D), tied: the encoder looks items up in it too."""
        return self.items.rows_VD

    def forward(self, inputs: EncoderInput) -> Tensor:
        """Hidden states, (B, L, D)."""
        x_BLD = self.items(inputs.item_ids_BL)
        return self.encode(x_BLD, from_end(inputs, self.max_len), inputs.segments_BL)

    def encode(
        self, x_BLD: Tensor, positions_BL: Tensor, segments_BL: Tensor, causal: bool = True
    ) -> Tensor:
        """Embeddings to hidden states; apart from the lookup, so that it can be compiled."""
        is_item_BL1 = (segments_BL > 0).unsqueeze(-1)
        x_BLD = x_BLD + rows_at(self.positions, positions_BL) * is_item_BL1
        x_BLD = self.dropout(self.norm(x_BLD))
        mask_B1LL = segment_mask(segments_BL, causal)
        for block in self.blocks:
            x_BLD = block(x_BLD, mask_B1LL)
        return x_BLD

    def pretraining_states(self, inputs: PretrainingInput) -> list[Tensor]:
        """Hidden states of the rows with masked items and of the three of segments, in turn."""
        rows = [inputs.masked_BL]
        if self.objective_weights["sp"]:
            rows += [inputs.context_BL, inputs.segment_BL, inputs.other_BL]
        ids_XL = torch.cat(rows)
        encoder_input = EncoderInput(
            ids_XL, inputs.segments_BL, inputs.positions_BL, inputs.num_sequences
        )
        positions_XL = from_end(encoder_input, self.max_len).repeat(len(rows), 1)
        segments_XL = inputs.segments_BL.repeat(len(rows), 1)
        assert self.mask is not None, "pretrain_epochs is above 0"
        x_XLD = self.items(ids_XL.clamp(min=0))
        x_XLD = torch.where((ids_XL < 0).unsqueeze(-1), self.mask.to(x_XLD.dtype), x_XLD)
        states_XLD = self.encode(x_XLD, positions_XL, segments_XL, causal=False)
        return [states.reshape(-1, states.size(-1)) for states in states_XLD.chunk(len(rows))]

    def objectives(self, states: list[Tensor], inputs: PretrainingInput) -> dict[str, Tensor]:
        """Each objective, summed over positions or segments and divided by the histories."""
        hidden_ND = states[0].index_select(0, inputs.places_N)
        is_masked_N = inputs.is_masked_N
        # Looked up so, the table gets a dense gradient, to which the encoder's rows are added.
        right_ND, wrong_ND = (
            rows_at(self.item_table_VD, ids_N) for ids_N in (inputs.items_N, inputs.negatives_N)
        )
        mip_N = pairwise_loss(self.heads["mip"](hidden_ND), right_ND, wrong_ND)
        sums = {"mip": (mip_N * is_masked_N).sum()}
        if self.attribute_table_AD is not None:
            assert self.item_attributes_VM is not None
            # A position has one of the two objectives, so one matrix of scores does for both.
            predicting_ND = torch.where(
                is_masked_N.unsqueeze(1), self.heads["map"](hidden_ND), self.heads["aap"](hidden_ND)
            )
            own_NM = self.item_attributes_VM.index_select(0, inputs.items_N)
            loss_N = attribute_loss(predicting_ND, self.attribute_table_AD, own_NM)
            sums["aap"] = (loss_N * ~is_masked_N).sum()
            sums["map"] = (loss_N * is_masked_N).sum()
        if len(states) > 1:
            context_SD, right_SD, wrong_SD = (
                each.index_select(0, inputs.last_S) for each in states[1:]
            )
            sums["sp"] = pairwise_loss(self.heads["sp"](context_SD), right_SD, wrong_SD).sum()
        return {name: value / inputs.num_sequences for name, value in sums.items()}
