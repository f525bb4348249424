"""Refuse runs that would find no item left for a user: no negative, or none to feed back."""

from scalelab.batches.negatives import nothing_left
from scalelab.core.spec import NegativesSpec, RunSpec
from scalelab.datasets.load import LengthsOnly
from scalelab.train.roll_out import nothing_to_feed_back

__all__ = ["check_left_items"]

# What they draw from: all items, or those that training has. What others draw is not known.
_OF_ALL, _OF_TRAINING = ("uniform",), ("popularity", "recent")


def check_left_items(
    spec: RunSpec, data: LengthsOnly, of_pretraining: tuple[NegativesSpec, ...] = ()
) -> None:
    """Raises the run's own DataError where the data show that it would stop with it."""
    left = data.left
    for source in (*of_pretraining, *spec.negatives):
        of_training = source.name in _OF_TRAINING and source.options.get("exponent", 1) != 0
        known = of_training or source.name in (*_OF_ALL, *_OF_TRAINING)
        wanted = left.num_trained if of_training else data.num_items
        if source.reject and known and left.num_trained == wanted and left.user_of_all is not None:
            raise nothing_left(left.user_of_all, wanted)
    steps = spec.evaluate.steps_ahead
    if spec.evaluate.fed_back and spec.data.exclude_seen and steps < len(left.most_had):
        # Each item that is fed back is one more that the user has had.
        if left.most_had[steps] + steps > data.num_items:
            raise nothing_to_feed_back()
