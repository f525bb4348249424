"""Refuse runs that would find no item left for a user: no negative, or none to feed back."""

from scalelab.batches.negatives import nothing_left
from scalelab.core.spec import NegativesSpec, RunSpec
from scalelab.datasets.left_items import LeftItems
from scalelab.datasets.load import LengthsOnly
from scalelab.train.roll_out import nothing_to_feed_back

__all__ = ["check_left_items"]

# What they draw from: all items, or those that training has. What others draw is not known.
_OF_ALL, _OF_TRAINING = ("uniform",), ("popularity", "recent")
# Drawn in less than a second. In more interactions than these, training has items that no user has
# all of, but where histories are longer than the catalog.
_FEW = 2_000_000


def check_left_items(
    spec: RunSpec, data: LengthsOnly, of_pretraining: tuple[NegativesSpec, ...] = ()
) -> None:
    """Raises the run's own DataError where the data show that it would stop with it.

    Generated items are drawn for it only where lengths do not rule it out.
    """
    left = _left(spec, data, (*of_pretraining, *spec.negatives))
    for source in (*of_pretraining, *spec.negatives):
        of_training = _is_of_training(source)
        known = of_training or source.name in (*_OF_ALL, *_OF_TRAINING)
        wanted = left.num_trained if of_training else data.num_items
        if source.reject and known and left.num_trained == wanted and left.user_of_all is not None:
            raise nothing_left(left.user_of_all, wanted)
    steps = spec.evaluate.steps_ahead
    if spec.evaluate.fed_back and spec.data.exclude_seen and steps < len(left.most_had):
        # Each item that is fed back is one more that the user has had.
        if left.most_had[steps] + steps > data.num_items:
            raise nothing_to_feed_back()


def _is_of_training(source: NegativesSpec) -> bool:
    return source.name in _OF_TRAINING and source.options.get("exponent", 1) != 0


def _left(spec: RunSpec, data: LengthsOnly, sources: tuple[NegativesSpec, ...]) -> LeftItems:
    if data.find_left is None:
        return data.left
    rejecting = [source for source in sources if source.reject]
    # Whoever has had everything has had at least so many rows as there are items.
    ahead = spec.evaluate
    fed_back = ahead.steps_ahead and ahead.fed_back and spec.data.exclude_seen
    may_be = (
        (rejecting and data.train.max(initial=0) >= data.num_items)
        or (fed_back and data.test_whole.max(initial=0) > data.num_items)
        # Training may have few of the items, which only the items themselves show.
        or (any(map(_is_of_training, rejecting)) and data.num_interactions <= _FEW)
    )
    return data.find_left() if may_be else data.left
