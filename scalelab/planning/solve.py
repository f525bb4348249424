"""Find the largest value of a key for which a run is predicted to fit a budget."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scalelab.core.errors import SpecError, nearest
from scalelab.core.spec import RunSpec
from scalelab.datasets.load import LengthsOnly, lengths
from scalelab.planning.devices import DeviceProfile, load_device
from scalelab.planning.predict import predict
from scalelab.planning.prediction import Prediction

__all__ = ["KEYS", "Solution", "solve"]

# The keys that memory grows with, and the largest value that is tried.
KEYS = {
    "batch.size": 2**20,
    "batch.max_len": 2**14,
    "data.num_items": 2**31 - 2,
    "negatives.num_negatives": 2**24,
    "model.hidden_dim": 2**14,
    "model.num_blocks": 64,
    "model.inner_dim": 2**17,
}


@dataclass(frozen=True, kw_only=True)
class Solution:
    """The largest `value` found to fit, and what is predicted with it and with the next one.

    `limited_by` says what keeps it from being larger: "memory", "users" (a step already holds all
    of the data) or "range" (no larger value is tried).
    """

    key: str
    value: int
    prediction: Prediction
    next_value: int | None
    next_prediction: Prediction | None

    @property
    def limited_by(self) -> str:
        """What keeps the value from being larger."""
        if self.next_value is not None:
            return "memory"
        return "users" if self.key == "batch.size" else "range"


def solve(
    spec: RunSpec,
    key: str,
    device: DeviceProfile | None = None,
    *,
    budget_bytes: int | None = None,
    headroom: float = 0.0,
    data: LengthsOnly | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> Solution:
    """`value` fits and the next one does not (None where all that make sense fit).

    The next value is `value` + 1, for `model.hidden_dim` the next multiple of the number of heads.
    Raises SpecError for a key that memory does not grow with, or that this run does not have, and
    for a budget that not even 1 fits. `data` are the lengths where the caller has them; `report`
    is called with each value that is tried.
    """
    device = device or load_device(None)
    stride = _stride(spec, key)
    data = data or lengths(spec.data)
    most = _most(key, data)
    known: dict[int, Prediction] = {}

    def look(count: int) -> Prediction:
        if count not in known:
            report(f"{key} = {count * stride:,}")
            changed = spec.with_({key: count * stride})
            # Only another catalog changes the data; the users and their lengths stay.
            same = None if key.startswith("data.") else data
            known[count] = predict(
                changed, device, budget_bytes=budget_bytes, headroom=headroom, data=same
            )
        return known[count]

    fits, over = _search(look, max(1, _present(spec, key) // stride), most // stride)
    if fits == 0:
        smallest = known[1]
        raise SpecError(
            f"nothing fits: with {key} = {stride} the run {smallest.reason}",
            "raise --budget, or make other parts of the run smaller",
        )
    return Solution(
        key=key,
        value=fits * stride,
        prediction=known[fits],
        next_value=None if over is None else over * stride,
        next_prediction=None if over is None else known[over],
    )


def _search(look: Callable[[int], Prediction], start: int, most: int) -> tuple[int, int | None]:
    """Neighbours (fits, does not), searched from `start`.

    (0, 1) if not even 1 fits, (most, None) if all do.

    Memory is nearly a straight line in every key, so the next guess is where the line through the
    ends meets the limit; every third guess halves what is left, should the line mislead.
    """
    low, high = 0, None
    guess, rounds = min(start, most), 0
    while high is None or high - low > 1:
        if look(guess).fits:
            low = guess
            if guess == most:
                return most, None
        else:
            high = guess
        rounds += 1
        if high is None:
            guess = min(most, max(2 * low, _straight(look, max(1, low // 2), low) + 1))
        elif high - low > 1:
            halved = rounds % 3 == 0 or low == 0
            guess = (low + high) // 2 if halved else _straight(look, low, high)
            guess = min(max(guess, low + 1), high - 1)
    return low, high


def _straight(look: Callable[[int], Prediction], first: int, second: int) -> int:
    """The largest whole number at which the line through two predictions is not above the limit."""
    # Under the limit the allocator gives back what it caches, and the line would bend there.
    below, above = look(first).without_limit_bytes, look(second).without_limit_bytes
    if above <= below:
        return 2 * second
    limit = look(first).limit_bytes
    return first + (limit - below) * (second - first) // (above - below)


def _stride(spec: RunSpec, key: str) -> int:
    if key not in KEYS:
        raise SpecError(f"cannot solve for {key!r}", nearest(key, KEYS))
    if key == "negatives.num_negatives" and not spec.negatives:
        hint = "solve for batch.size, or write --set loss.name=bce"
        raise SpecError(f"the loss {spec.loss.name!r} takes no negatives", hint)
    name = key.partition(".")[2]
    for part, owner in ((spec.model, "model"), (spec.data, "data")):
        if key.startswith(f"{owner}.") and name not in part.options:
            has = [known for known in KEYS if known != key]
            raise SpecError(f"{part.part!r} has no {name}, so {key!r} is fixed", nearest(key, has))
    return int(spec.model.options.get("num_heads", 1)) if key == "model.hidden_dim" else 1


def _most(key: str, data: LengthsOnly) -> int:
    if key == "batch.size":
        # A step cannot hold more sequences than there are users.
        return max(1, int((data.train >= 2).sum()))
    return KEYS[key]


def _present(spec: RunSpec, key: str) -> int:
    if key == "negatives.num_negatives":
        return spec.negatives[0].num_negatives
    table, _, name = key.partition(".")
    value: Any = spec.as_sections()[table][name]
    return int(value)
