"""Recognise the click logs that the reader `sessions` reads by the names of their columns."""

from collections.abc import Collection

__all__ = ["whose_click_log"]

# The parts of OTTO's log have no other columns; Diginetica's names are written in two ways.
_OTTO = {"session", "events"}
_DIGINETICA = ["sessionid", "userid", "itemid", "timeframe", "eventdate"]


def whose_click_log(names: Collection[str]) -> str | None:
    """OTTO or Diginetica, None where the columns are others."""
    if set(names) >= _OTTO:
        return "OTTO"
    plain = [name.strip(' "').lower().replace("_", "") for name in names]
    return "Diginetica" if plain == _DIGINETICA else None
