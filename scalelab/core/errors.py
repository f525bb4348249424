"""Define the errors that a person can fix, with the exit code of each.

ScalelabError (1)
  SpecError (2)      a study, a profile or an option that cannot be used
    PredictionUnsupported (2)   a run that can be measured, but not predicted
  DataError (2)      a data set that cannot be read or split as requested
  LedgerError (2)    a ledger that cannot be opened, read or written
  MissingExtra (2)   an optional part whose package is not installed
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "DataError",
    "LedgerError",
    "MissingExtra",
    "PredictionUnsupported",
    "ScalelabError",
    "SpecError",
    "nearest",
]


class ScalelabError(Exception):
    """An error that a person can fix: one line of message, one line of hint, an exit code.

    `detail` is text of several lines that shows where, such as a line of SQL with a mark below.
    """

    exit_code = 1
    kind = "error"

    def __init__(self, message: str, hint: str = "", *, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail

    def __reduce__(
        self,
    ) -> tuple[type["ScalelabError"], tuple[str, str], dict[str, str]]:
        return type(self), (self.message, self.hint), {"detail": self.detail}


class SpecError(ScalelabError):
    """A study, a profile or an option that cannot be used."""

    exit_code = 2
    kind = "spec"


class PredictionUnsupported(SpecError):
    """A run that can be measured, but not predicted: `plan` says why, a sweep goes on."""


class DataError(ScalelabError):
    """A data set that cannot be read, filtered or split as requested."""

    exit_code = 2
    kind = "data"


class LedgerError(ScalelabError):
    """A ledger that cannot be opened, read or written."""

    exit_code = 2
    kind = "ledger"


class MissingExtra(ScalelabError):
    """An optional part whose package is not installed; the hint is the install command."""

    exit_code = 2
    kind = "missing"


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the known word nearest to `name`, else all of them.

    Where keys with dots end in `name`, they are meant: "epochs" is near to "train.epochs".
    """
    words = sorted(known)
    ending = [word for word in words if word.endswith(f".{name}")]
    if ending:
        return f"did you mean {' or '.join(map(repr, ending))}?"
    close = difflib.get_close_matches(name, words, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(words)}"
