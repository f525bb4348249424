"""Describe the options that several readers share: meaning and range of each."""

from typing import Annotated

from pydantic import Field

__all__ = ["Encoding", "TimeFormat", "Where"]

TimeFormat = Annotated[
    str, Field(description='how times are written, such as "%d/%m/%Y"; empty: decided from all')
]
Encoding = Annotated[str, Field(description='how the text is encoded, such as "latin-1"')]
Where = Annotated[
    str, Field(description="SQL condition on the columns, such as rating >= 4; empty: all rows")
]
