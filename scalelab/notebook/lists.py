"""Hold what `doctor`, `list` and `keys` return, which a notebook shows as tables."""

from typing import TYPE_CHECKING

from scalelab.notebook.html_table import html_table

if TYPE_CHECKING:
    from scalelab.core.keys import Key
    from scalelab.core.part_options import PartOption
    from scalelab.core.parts import Part
    from scalelab.diagnostics import Check

__all__ = ["Checks", "Keys", "Parts"]

_PLACES = {"run": "Keys of a run", "study": "Keys of a study"}


class Checks(list["Check"]):
    """The checks of this machine, in their order."""

    def _repr_html_(self) -> str:
        rows = [(check.name, check.state, check.detail, check.fix) for check in self]
        return html_table(("part", "state", "found", "fix"), rows)


class Parts(dict[str, tuple["Part", ...]]):
    """The parts that can be named, by kind."""

    def _repr_html_(self) -> str:
        columns = ("name", "description", "options", "source")
        return "".join(
            html_table(
                columns,
                [
                    (
                        part.name,
                        part.summary,
                        "; ".join(map(_explained, part.options)),
                        part.source or part.origin,
                    )
                    for part in parts
                ],
                title=kind,
            )
            for kind, parts in self.items()
        )


class Keys(tuple["Key", ...]):
    """The keys of a run and of a study."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        columns = ("key", "meaning", "allowed", "default", "only for")
        return "".join(
            html_table(
                columns,
                [
                    (key.key, key.meaning, key.allowed, key.default, ", ".join(key.parts))
                    for key in self
                    if key.place == place
                ],
                title=title,
            )
            for place, title in _PLACES.items()
            if any(key.place == place for key in self)
        )


def _explained(option: "PartOption") -> str:
    default = "" if option.default == "" else f" = {option.default}"
    return f"{option.name}{default} ({option.allowed})"
