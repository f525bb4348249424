"""Find the sources of losses and models in the BibTeX file of the package."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = ["Source", "all_sources", "sources_of"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """An entry: its key, its BibTeX, names and year for a text, and the parts that it describes."""

    key: str
    bibtex: str
    short: str
    parts: frozenset[str]


def sources_of(parts: Iterable[str]) -> tuple[list[Source], list[str]]:
    """The entries of parts such as losses.rece, each once, and the parts that have none."""
    wanted = list(dict.fromkeys(parts))
    known = frozenset[str]().union(*(source.parts for source in all_sources()))
    found = [source for source in all_sources() if source.parts & set(wanted)]
    return found, [part for part in wanted if part not in known]


@cache
def all_sources() -> tuple[Source, ...]:
    """Every entry of sources.bib. Its `keywords` name the parts; they are not given to others."""
    package = resources.files("scalelab.result_tables")
    text = package.joinpath("sources.bib").read_text(encoding="utf-8")
    return tuple(_source(entry) for entry in re.split(r"\n(?=@)", text))


def _source(entry: str) -> Source:
    key = entry.partition("{")[2].partition(",")[0]
    fields = dict(re.findall(r"\n  (\w+) = \{(.*)\}", entry))
    return Source(
        key=key,
        bibtex=re.sub(r",\n  keywords = .*", "", entry).strip() + "\n",
        short=f"{_short(fields['author'].split(' and '))}, {fields['year']}",
        parts=frozenset(part.strip() for part in fields["keywords"].split(",")),
    )


def _short(authors: list[str]) -> str:
    names = [author.split()[-1] for author in authors]
    if len(names) == 1:
        return names[0]
    return f"{names[0]} and {names[1]}" if len(names) == 2 else f"{names[0]} et al."
