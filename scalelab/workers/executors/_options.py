"""Describe the options that all executors share: meaning and range of each."""

from typing import Annotated

from pydantic import Field

__all__ = ["Threads", "Workers"]

Workers = Annotated[int, Field(ge=1, description="runs at a time")]
Threads = Annotated[int, Field(ge=0, description="threads of each run; 0: its share of the cores")]
