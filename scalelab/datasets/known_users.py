"""Find whose training history a held-out history belongs to, and the users' own ids."""

import tempfile
from pathlib import Path

import numpy as np

from scalelab.core.spec import DataSpec
from scalelab.datasets.interactions import Histories, Interactions
from scalelab.datasets.load import load

__all__ = ["training_rows", "training_user_ids"]


def training_rows(train: Histories, histories: Histories) -> np.ndarray:
    """For each of `histories`, the number of the training history (from 1) of the same user, int32.

    0 for a user without one of two items at least: there nothing was trained on. Both are slices of
    one array, and a user's begin at the same place.
    """
    places = np.minimum(np.searchsorted(train.starts, histories.starts), len(train) - 1)
    known = (train.starts[places] == histories.starts) & (train.lengths[places] >= 2)
    return np.where(known, places + 1, 0).astype(np.int32)


def training_user_ids(
    data: DataSpec, interactions: Interactions, train: Histories
) -> np.ndarray | None:
    """The own id of the user of each training history; None where the reader keeps none.

    Ids that are text are read anew, with a folder to work in: they are not held while a model
    trains.
    """
    users = np.searchsorted(interactions.offsets, train.starts)
    if interactions.find_user_ids is not None:
        return interactions.find_user_ids()[users]
    with tempfile.TemporaryDirectory(prefix="scalelab-") as folder:
        find = load(data, Path(folder)).find_user_ids
        return None if find is None else find()[users]
