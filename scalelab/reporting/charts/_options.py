"""Describe the options that several charts share: meaning and range of each."""

from typing import Annotated, Literal

from pydantic import Field

__all__ = ["Height", "Metric", "Stage", "Study", "Width"]

Study = Annotated[str | None, Field(description="study_id of the study; every study if left out")]
Stage = Annotated[Literal["train", "eval"], Field(description="peak of training or of evaluation")]
Metric = Annotated[
    str | None,
    Field(
        description="metric of quality with its cut-off, such as hr@10 or mrr@20; left out: "
        "evaluate.metric of the study, else of the study that was swept last"
    ),
]
Width = Annotated[int, Field(ge=50, le=4000, description="width of a panel in pixels")]
Height = Annotated[int, Field(ge=50, le=4000, description="height of a panel in pixels")]
