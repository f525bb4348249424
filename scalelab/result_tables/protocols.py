"""Decide whether a published protocol, in the words of its paper, and one of ours agree."""

import re
from datetime import datetime

__all__ = ["NOT_STATED", "same_protocol", "seen_is_stated", "some_users_of", "targets_of"]

NOT_STATED = "not stated: whether seen items are excluded"
# Of our protocols, and of publications that say it in the same words.
_SOME_USERS = re.compile(r"\b([\d,]*\d) users evaluated\b")
_TEST_ITEMS = re.compile(r"\b(\d+) items for test\b")
_SPLITS = ("leave-one-out", "global time", "temporal", "sessions")
_SEEN = re.compile(r"\bseen (?:items )?(excluded|included)\b")
# What can be a cut in the text of a paper: a date with or without its time of day, or a number.
_CLOCK = r"(?:[ t]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?:z|[+-]\d\d:?\d\d)?"
_DATE = re.compile(rf"(?<![\w.-])\d{{4}}-\d\d-\d\d{_CLOCK}(?![\w-])")
_QUANTILE = re.compile(r"(?<![\w.-])0\.\d+(?![\w-])")
_SECONDS = re.compile(r"(?<![\w.-])\d{9,}(?:\.\d+)?(?![\w-])")


def same_protocol(ours: str, published: str) -> bool:
    """Only the same kind of split, at the same cuts, with the same targets and the same rule for
    seen items, compares. What a publication does not state fits any of ours, with exceptions: a
    split that it does not name fits only those with one target per user, and where it does not say
    that only some users were evaluated, or several items held out, these are all users and one.
    """
    words, own = published.lower(), ours.lower()
    if _targets_published(words) != targets_of(own):
        return False
    if some_users_of(words) != some_users_of(own):
        return False
    if _TEST_ITEMS.findall(words) != _TEST_ITEMS.findall(own):
        return False
    if (seen := _SEEN.search(words)) and f"seen {seen[1]}" not in own:
        return False
    kind = next((kind for kind in _SPLITS if kind in words), None)
    if kind is None:
        return "split" not in words and "session" not in words
    if not own.startswith(kind):
        return False
    stated = [] if kind == "leave-one-out" else _cuts_published(words)
    return not stated or _cuts_of(own, kind) in stated


def seen_is_stated(published: str) -> bool:
    """Whether it states what happens to the items that a user has seen before."""
    return _SEEN.search(published.lower()) is not None


def some_users_of(protocol: str) -> int | None:
    """How many users were evaluated, evenly chosen; None: all."""
    found = _SOME_USERS.search(protocol.lower())
    return None if found is None else int(found[1].replace(",", ""))


def targets_of(ours: str) -> str:
    """What is ranked of a held-out window by one of our protocols, as in `data.targets`."""
    named = re.search(r", targets (\w+)", ours)
    if named:
        return named[1]
    return "successive" if ours.startswith("sessions") else "last"


def _targets_published(words: str) -> str:
    if "all targets" in words:
        return "all"
    successive = "successive" in words or ("sessions" in words and "last" not in words)
    return "successive" if successive else "last"


def _cuts_of(own: str, kind: str) -> frozenset[str]:
    """The cuts of one of our protocols, each as it is written there."""
    split = own.partition(", ")[0].removeprefix(kind).strip()
    return frozenset(_plain(cut) for cut in split.split(" to "))


def _cuts_published(words: str) -> list[frozenset[str]]:
    """The cuts that are stated: as dates, as quantiles, as clock times, or in several ways."""
    kinds = (pattern.findall(words) for pattern in (_DATE, _QUANTILE, _SECONDS))
    return [frozenset(_plain(cut) for cut in found) for found in kinds if found]


def _plain(cut: str) -> str:
    """One spelling for each number, and for each moment."""
    try:
        return repr(float(cut))
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(cut.upper()).isoformat()
    except ValueError:
        return cut
