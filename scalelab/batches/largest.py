"""Find the largest among steps or blocks that have several sizes each."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

__all__ = ["not_exceeded"]


class Sized(Protocol):
    """Something with sizes."""

    @property
    def shape(self) -> tuple[Any, ...]:
        """Its sizes, always the same ones in the same order."""
        ...


T = TypeVar("T", bound=Sized)


def not_exceeded(
    choices: Iterable[T], more: Callable[[T], tuple[int, ...]] = lambda choice: ()
) -> tuple[T, ...]:
    """Those that no other one equals or exceeds in every size, by rising sizes; the first of equal
    ones. What grows with every size is largest at one of them. `more` are sizes beside the shape.
    """
    kept: list[tuple[tuple[Any, ...], T]] = []
    for choice in choices:
        sizes = (*choice.shape, *more(choice))
        if not any(_covers(other, sizes) for other, _ in kept):
            kept = [pair for pair in kept if not _covers(sizes, pair[0])] + [(sizes, choice)]
    return tuple(choice for _, choice in sorted(kept, key=lambda pair: pair[0]))


def _covers(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True))
