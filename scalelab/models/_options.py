"""Describe the options that several encoders share: meaning and range of each."""

from typing import Annotated, Literal

from pydantic import Field

__all__ = [
    "Activation",
    "Dropout",
    "HiddenDim",
    "InitStd",
    "InnerDim",
    "NumBlocks",
    "NumHeads",
]

HiddenDim = Annotated[int, Field(ge=1, description="width of hidden states and of item vectors")]
NumBlocks = Annotated[int, Field(ge=0, description="blocks (layers) of the encoder")]
NumHeads = Annotated[int, Field(ge=1, description="attention heads; they divide hidden_dim")]
InnerDim = Annotated[
    int, Field(ge=0, description="width inside the feed-forward layer; 0 takes the model's usual")
]
Dropout = Annotated[
    float, Field(ge=0, lt=1, description="probability with which training sets a value to zero")
]
InitStd = Annotated[
    float, Field(gt=0, description="standard deviation of the normal distribution of first weights")
]
Activation = Annotated[
    Literal["relu", "gelu", "silu"], Field(description="function inside the feed-forward layer")
]
