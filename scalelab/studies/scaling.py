"""Give the lengths of a data set to another number of items or users."""

from dataclasses import replace

import numpy as np

from scalelab.core.errors import DataError
from scalelab.datasets.left_items import LeftItems
from scalelab.datasets.load import LengthsOnly

__all__ = ["scaled"]


def scaled(
    data: LengthsOnly,
    *,
    num_items: int | None = None,
    num_users: int | None = None,
    max_eval_users: int = 0,
) -> LengthsOnly:
    """The same with so many items, and so many users whose lengths are distributed as before.

    Users are taken evenly from the given ones, repeated or left out; None keeps the number.
    """
    # Of generated data the options have been changed already: then nothing is another.
    if num_items is not None and num_items != data.num_items:
        data = replace(data, num_items=num_items, left=LeftItems(), find_left=None)
    if num_users is None:
        return data
    if data.num_users == 0:
        raise DataError("the data have no users, whose lengths are needed")
    if data.test_users is not None:
        raise DataError(
            "the lengths of several targets per user cannot be scaled",
            'set data.targets = "last", or leave the number of users',
        )
    share = num_users / data.num_users
    test = _resized(data.test, share)
    return replace(
        data,
        train=_resized(data.train, share),
        valid=_resized(data.valid, share),
        test=test,
        test_whole=_resized(data.test_whole, share),
        test_untrained=_resized(data.test_untrained, share),
        num_users=num_users,
        num_interactions=round(data.num_interactions * share),
        num_eval_users=min(max_eval_users or len(test), len(test)),
    )


def _resized(lengths: np.ndarray, share: float) -> np.ndarray:
    count = round(len(lengths) * share)
    if len(lengths) == 0:
        return lengths
    return lengths[np.arange(count) * len(lengths) // max(1, count)]
