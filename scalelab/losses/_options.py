"""Describe the options that several losses share: meaning and range of each."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

__all__ = [
    "Cosine",
    "IncludePadding",
    "Kernel",
    "Reduction",
    "Regularisation",
    "RemoveAccidentalHits",
    "Temperature",
    "TopK",
]

Reduction = Annotated[
    Literal["mean", "sum", "balanced"],
    Field(description="how the terms of a position are put together"),
]
RemoveAccidentalHits = Annotated[
    bool, Field(description="whether negatives that are the target itself are left out")
]
IncludePadding = Annotated[
    bool, Field(description="whether the padding row counts in the softmax, as in RECE's code")
]
Regularisation = Annotated[
    float, Field(ge=0, description="weight of the squared scores of negatives (GRU4Rec's bpreg)")
]
Kernel = Annotated[
    Literal["auto", "fused", "tiled"],
    Field(description="fused Triton kernels or tiles of scores; auto: fused where they run"),
]
TopK = Annotated[
    PositiveInt | None,
    Field(description="how many negatives count, those with the highest scores; left out: all"),
]
Temperature = Annotated[float, Field(gt=0, description="scores are divided by it")]
Cosine = Annotated[
    bool, Field(description="whether scores are cosines, in training and in evaluation")
]
