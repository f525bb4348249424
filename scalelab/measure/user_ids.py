"""Find the own ids of the users who are trained on."""

import numpy as np

from scalelab.core.leftovers import temporary_folder
from scalelab.core.spec import DataSpec
from scalelab.datasets.interactions import Histories, Interactions
from scalelab.datasets.load import load

__all__ = ["training_user_ids"]


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
    with temporary_folder("scalelab-users-") as folder:
        find = load(data, folder).find_user_ids
        return None if find is None else find()[users]
