"""Write a part and its test into a folder: what `scalelab new` leaves for its author to change.

The files beside this one hold the text; `snake_name` and `CamelName` in them stand for the part.
"""

import keyword
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from scalelab.core.errors import SpecError, nearest

__all__ = ["KINDS", "Written", "write_part"]

KINDS = ("loss", "model", "chart")
_TRY = {
    "loss": "scalelab plan sasrec-synthetic --set loss.name=./snake_name.py:CamelName",
    "model": "scalelab plan sasrec-synthetic --set model.name=./snake_name.py:CamelName",
    "chart": "scalelab report quickstart.duckdb --chart ./snake_name.py:CamelName",
}


@dataclass(frozen=True, kw_only=True)
class Written:
    """The files that were written, and commands that work with them as they are."""

    files: tuple[Path, ...]
    commands: tuple[str, ...]


def write_part(kind: str, name: str, folder: Path) -> Written:
    """A part called `name` and its test, as new files. Raises SpecError and then writes none."""
    if kind not in KINDS:
        raise SpecError(f"no template of a {kind!r}", nearest(kind, KINDS))
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise SpecError(
            f"invalid name of a part: {name!r}",
            "use small letters, digits and _, and begin with a letter, such as my_loss",
        )
    texts = {
        folder / f"{name}.py": _text(f"{kind}.txt", name),
        folder / f"test_{name}.py": _text(f"test_{kind}.txt", name),
    }
    for file in texts:
        if file.exists():
            raise SpecError(f"{file} is there already", "give another name, or move that file")
    for file, text in texts.items():
        try:
            with file.open("x", encoding="utf-8") as stream:
                stream.write(text)
        except OSError as error:
            raise SpecError(f"cannot write {file}: {error.strerror}") from error
    commands = (f"pytest test_{name}.py", _filled(_TRY[kind], name))
    return Written(files=tuple(texts), commands=commands)


def _text(template: str, name: str) -> str:
    return _filled(
        resources.files("scalelab.templates").joinpath(template).read_text("utf-8"), name
    )


def _filled(text: str, name: str) -> str:
    camel = "".join(word.capitalize() for word in name.split("_"))
    return text.replace("snake_name", name).replace("CamelName", camel)
