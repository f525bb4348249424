"""Write the JSON schema of run profiles or of studies, for editors."""

from enum import StrEnum
from typing import Annotated

import typer

from scalelab import api
from scalelab.cli.options import Out
from scalelab.cli.output import note, show_json

__all__ = ["EXAMPLE", "SchemaOf", "main"]

EXAMPLE = "Example: scalelab schema study --out study.schema.json"


class SchemaOf(StrEnum):
    """What a schema describes."""

    RUN = "run"
    STUDY = "study"


def main(
    of: Annotated[SchemaOf, typer.Argument(help="Run profiles or studies.")] = SchemaOf.STUDY,
    out: Out = None,
) -> None:
    """Write the JSON schema of a run profile or a study; editors check and complete TOML by it."""
    schema = api.schema(of.value, out=out)
    if out is None:
        show_json(schema)
    else:
        note(f"wrote {out}; write '#:schema {out}' as the first line of a TOML file to use it")
