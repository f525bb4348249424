"""Find the largest among steps or blocks that have several sizes each."""

from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

__all__ = ["not_exceeded"]


class Sized(Protocol):
    """Something with sizes."""

    @property
    def shape(self) -> tuple[Any, ...]:
        """Its sizes, always the same ones in the same order."""
        ...


T = TypeVar("T", bound=Sized)


def not_exceeded(choices: Iterable[T]) -> tuple[T, ...]:
    """Those that no other one equals or exceeds in every size, by rising sizes; the first of equal
    ones. What grows with every size is largest at one of them.
    """
    kept: list[T] = []
    for choice in choices:
        if not any(_covers(other, choice) for other in kept):
            kept = [other for other in kept if not _covers(choice, other)] + [choice]
    return tuple(sorted(kept, key=lambda choice: choice.shape))


def _covers(one: Sized, other: Sized) -> bool:
    return all(a >= b for a, b in zip(one.shape, other.shape, strict=True))
