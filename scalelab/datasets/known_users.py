"""Find whose training history a held-out history belongs to."""

import numpy as np

from scalelab.datasets.interactions import Histories

__all__ = ["training_places", "training_rows"]


def training_rows(train: Histories, histories: Histories) -> np.ndarray:
    """For each of `histories`, the number of the training history (from 1) of the same user, int32.

    0 for a user without one of two items at least: there nothing was trained on. Both are slices of
    one array, and a user's begin at the same place.
    """
    places = training_places(train, histories.starts)
    return np.where(train.lengths[places] >= 2, places + 1, 0).astype(np.int32)


def training_places(train: Histories, starts: np.ndarray) -> np.ndarray:
    """The number of the training history that begins at each of `starts`; -1: there is none."""
    places = np.minimum(np.searchsorted(train.starts, starts), len(train) - 1)
    return np.where(train.starts[places] == starts, places, -1)
