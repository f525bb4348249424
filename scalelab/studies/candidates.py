"""List the losses, numbers of negatives and batch sizes that are sensible for a catalog."""

from dataclasses import dataclass, field
from typing import Any

from scalelab.core.spec import RunSpec

__all__ = ["Candidate", "candidates"]

# Negatives shared by the batch cost little each; those of a position are drawn for it alone.
_SHARED = (512, 4096)
_OWN = 256
# A sample of more than this share of the catalog saves little beside all of it.
_MOST_OF_CATALOG = 0.25
# RECE sorts items into chunks; below this catalog the chunks are no smaller than the catalog.
_LEAST_FOR_RECE = 10_000
_LARGER_BATCH = 4
# A batch is to leave an epoch at least so many steps.
_LEAST_STEPS = 10


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Keys of the run that make a configuration, and why it is worth a try."""

    keys: dict[str, Any] = field(default_factory=dict)
    why: str


def candidates(base: RunSpec, *, num_items: int, num_users: int) -> list[Candidate]:
    """The most telling first: all losses with the batch of the base, then with a larger one.

    Full cross-entropy is the tiled or fused one: `dense_ce` gives the same with more memory.
    """
    losses = [Candidate(keys={"loss.name": "cross_entropy"}, why="exact softmax over all items")]
    allowed = _MOST_OF_CATALOG * num_items
    shared = [count for count in _SHARED if count <= allowed]
    losses += [
        Candidate(
            keys=_sampled("sampled_softmax", "batch", count),
            why=f"softmax over {count} negatives that the batch shares",
        )
        for count in reversed(shared)
    ]
    if allowed >= _OWN:
        losses.append(
            Candidate(
                keys=_sampled("sampled_softmax", "position", _OWN),
                why=f"softmax over {_OWN} negatives of each position's own",
            )
        )
    if num_items >= _LEAST_FOR_RECE:
        losses.append(
            Candidate(keys={"loss.name": "rece"}, why="softmax over the items that are near")
        )
    if allowed >= _OWN:
        losses.append(
            Candidate(
                keys=_sampled("gbce", "position", _OWN),
                why="binary cross-entropy that is calibrated for many negatives",
            )
        )
    losses.append(
        Candidate(keys=_sampled("bce", "position", 1), why="SASRec's own loss, the cheapest")
    )
    larger = _LARGER_BATCH * base.batch.size
    sizes = [base.batch.size]
    if larger * _LEAST_STEPS <= num_users:
        sizes.append(larger)
    return [
        Candidate(keys=each.keys | {"batch.size": size}, why=each.why)
        for size in sizes
        for each in losses
    ]


def _sampled(loss: str, per: str, count: int) -> dict[str, Any]:
    return {"loss.name": loss, "negatives.per": per, "negatives.num_negatives": count}
