"""Draw the negatives of consecutive training steps from all sources of a run."""

import numpy as np
import torch

from scalelab.batches._kernels import ids_in_range
from scalelab.batches._random import stream_key
from scalelab.batches.batch import NegativeIds
from scalelab.batches.negatives import Catalog, Places, Source
from scalelab.core import plugins
from scalelab.core.errors import DataError, SpecError
from scalelab.core.spec import NegativesSpec
from scalelab.datasets.clock import Clock
from scalelab.datasets.interactions import Histories

__all__ = ["Drawing", "catalog_of", "check_clock", "check_negatives", "plain"]

# Draws per position are numbered from 0; those of a whole sequence or step are one group beside.
_WHOLE = -1


def check_negatives(specs: tuple[NegativesSpec, ...], sequences: int) -> None:
    """Raise SpecError for sources that contradict themselves or a step of so many sequences."""
    for spec in specs:
        if spec.reject and spec.per == "batch":
            raise SpecError(
                f'{spec.name!r} per = "batch" cannot reject: all users of a step share its draws',
                'set negatives.reject = false, or negatives.per = "position"',
            )
        if spec.name == "in_batch" and spec.per != "batch" and sequences < 2:
            raise SpecError(
                '"in_batch" draws from the other sequences of a step, and a step has one sequence',
                'raise batch.size, or set negatives.name = "uniform"',
            )


def check_clock(specs: tuple[NegativesSpec, ...], has_clock: bool) -> None:
    """Raise DataError for sources that need to know when items were taken, where nobody does."""
    for spec in specs:
        if not has_clock and getattr(plugins.load("negatives", spec.name), "needs_clock", False):
            raise DataError(
                f"the negatives {spec.name!r} need clock times of a known unit, which these data "
                "do not have",
                'write negatives.name = "popularity", or take a data set with timestamps',
            )


def catalog_of(histories: Histories, num_items: int, clock: Clock | None = None) -> Catalog:
    """The training histories as kernels take them. Raises DataError for an id out of range."""
    if clock is not None:
        clock = clock._replace(times=plain(clock.times, np.int64))
    items = plain(histories.item_ids, np.int32)
    starts, ends = plain(histories.starts, np.int64), plain(histories.ends, np.int64)
    if not ids_in_range(items, starts, ends, num_items):
        raise DataError(
            f"a training history holds an item id outside 1..{num_items}",
            "check num_items and the ids that the reader gives",
        )
    return Catalog(items, starts, ends, num_items, clock)


def plain(array: np.ndarray, dtype: type) -> np.ndarray:
    # Whatever comes (memory-mapped, a slice), kernels see one type, so that each is compiled once.
    plain = np.ascontiguousarray(array, dtype=dtype).view(np.ndarray)
    plain.flags.writeable = False
    return plain


class Drawing:
    """All sources of a run. Raises DataError where rejection would leave a user nothing."""

    def __init__(self, specs: tuple[NegativesSpec, ...], catalog: Catalog, seed: int) -> None:
        self._specs = specs
        self._seed, self._catalog = seed, catalog
        self._sources: list[Source] = [
            plugins.load("negatives", spec.name)(**spec.options) for spec in specs
        ]
        self._draws = [
            source.bind(catalog, reject=spec.reject)
            for source, spec in zip(self._sources, specs, strict=True)
        ]

    def log_shares(self) -> tuple[np.ndarray | None, ...]:
        """By source, the log of each item's probability where that is not popularity to a power."""
        return tuple(
            None if source.exponent is not None else source.log_shares(self._catalog)  # pyright: ignore[reportAttributeAccessIssue]
            for source in self._sources
        )

    def num_bytes(self, *, positions: int, sequences: int) -> int:
        """Bytes of the ids of a step of that size."""
        groups = {"position": positions, "sequence": sequences, "batch": 1}
        return sum(4 * groups[spec.per] * spec.num_negatives for spec in self._specs)

    def draw(
        self,
        *,
        epoch: int,
        steps: range,
        users: np.ndarray,
        first_position: np.ndarray,
        num_targets: np.ndarray,
        sequence_offsets: np.ndarray,
        targets_N: np.ndarray,
        own_sequences: bool = False,
    ) -> list[tuple[NegativeIds, ...]]:
        """The negatives of each of `steps`, whose sequences are those of `users` in order.

        A sequence has `num_targets` targets from position `first_position` on; step t has the
        sequences `sequence_offsets[t]` to `sequence_offsets[t + 1]`. `own_sequences` says that a
        user has several, each with one target: its position then distinguishes them.
        """
        own = np.concatenate(([0], np.cumsum(num_targets, dtype=np.int64)))
        by_source = []
        for i, (spec, source, draw) in enumerate(
            zip(self._specs, self._sources, self._draws, strict=True)
        ):
            bounds = own[sequence_offsets]
            if spec.per == "batch":
                owners = np.arange(steps.start, steps.stop, dtype=np.int32)
                groups = np.ones(len(steps), np.int32)
                first_group = np.full(len(steps), _WHOLE, np.int32)
                begin, end, own_begin, own_end = bounds[:-1], bounds[1:], bounds[:-1], bounds[:-1]
                sizes = np.ones(len(steps), np.int64)
            else:
                owners = users
                sequences = np.diff(sequence_offsets)
                begin, end = np.repeat(bounds[:-1], sequences), np.repeat(bounds[1:], sequences)
                own_begin, own_end = own[:-1], own[1:]
                if spec.per == "position":
                    groups, first_group, sizes = num_targets, first_position, np.diff(bounds)
                else:
                    groups = np.ones(len(users), np.int32)
                    whole = np.full(len(users), _WHOLE, np.int32)
                    first_group = first_position if own_sequences else whole
                    sizes = sequences
            key = stream_key(self._seed, epoch, 1 + i)
            places = Places(
                key,
                spec.reject,
                owners,
                groups,
                first_group,
                targets_N,
                begin,
                end,
                own_begin,
                own_end,
            )
            ids = np.empty((int(sizes.sum()), spec.num_negatives), np.int32)
            draw(places, ids)
            ids = torch.from_numpy(ids)
            parts = ids.unbind(0) if spec.per == "batch" else ids.split(sizes.tolist())
            by_source.append([NegativeIds(spec.per, part, source.exponent) for part in parts])
        if not by_source:
            return [()] * len(steps)
        return list(zip(*by_source, strict=True))
