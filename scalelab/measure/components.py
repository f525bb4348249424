"""Follow every storage of a training step and attribute its bytes to a component of the model.

One `TorchDispatchMode` registers every storage when it is allocated and notices when it is freed,
on real tensors and on fake ones alike. The component of a storage comes from the current phase, in
the backward pass from the sequence number of the running autograd node, and at last from what the
storage became: a buffer that becomes a gradient counts as one from its allocation on.
"""

import weakref
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd import _get_sequence_nr  # noqa: PLC2701 # pyright: ignore
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: PLC2701

from scalelab.core.events import Observer, Phase
from scalelab.core.records import TimelineEvent
from scalelab.measure.compiled import ALLOCATION_CALLBACKS
from scalelab.measure.in_place import MAY_ADD_IN_PLACE, InPlaceRules, current_node
from scalelab.measure.names import BY_PHASE, COMPONENTS
from scalelab.measure.storages import MemoryEvent, Storage, on_device, storages_of
from scalelab.measure.training_parts import TrainingParts
from scalelab.measure.workspaces import RUN, Run

__all__ = ["COMPONENTS", "Account"]


class Account(TorchDispatchMode, Observer):
    """Follows live tensor bytes on one kind of device while it is active (`with account:`).

    Label what exists before (`label`, `label_training`), add it to the trainer's observers, and
    read `peak_bytes`, `peak_components()`, `timeline()` afterwards. Bytes are requested bytes:
    neither rounded nor cached by an allocator. `run` replaces how an operation is run and how the
    temporary memory inside it is found (see `scalelab.measure.workspaces`).
    """

    def __init__(self, device_type: str = "cpu", run: Run | None = None) -> None:
        super().__init__()
        self._device_type = device_type
        self._run = run or RUN[device_type]
        self._storages: list[Storage] = []
        # `_cdata` of a storage that is alive, to its number in `_storages`.
        self._live: dict[int, int] = {}
        # (storage number, bytes, phase) of every allocation (+) and free (-), in order.
        self._events: list[tuple[int, int, str]] = []
        self._phases: list[Phase] = []
        self._forward_ranges: list[tuple[int, int, str]] = []
        self._range_starts: list[int] = []
        self._parts: TrainingParts | None = None
        # An in-place alias that is not decided yet: (old storage, the one that may replace it).
        self._alias: tuple[int, int] | None = None
        self._in_place = InPlaceRules()
        self._current = 0
        self.window = 0  # index of the first event that the peak counts
        self._closed = False
        self.peak_bytes = 0

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Keep `torch.compile` as it is: an active mode would make Dynamo skip for good."""
        return True

    def start_window(self) -> None:
        """Peaks count from here on; what is alive now is their floor."""
        self._settle_alias()
        self.window = len(self._events)
        self.peak_bytes = self._current

    # Labels

    def label(self, component: str, tensors: Iterable[Tensor]) -> None:
        """These tensors belong to `component`, from their allocation on."""
        for tensor in tensors:
            for storage in storages_of(tensor):
                if storage.device.type != self._device_type:
                    continue
                key = self._live.get(storage._cdata)
                if key is None:
                    self._allocate(storage, component)
                else:
                    self._storages[key].component = component

    def label_training(
        self,
        model: nn.Module,
        table: Sequence[Tensor],
        *optimizers: torch.optim.Optimizer,
        user_table: Tensor | None = None,
    ) -> None:
        """Parameters, buffers, gradients and optimizer state of one training, now and later.

        `table` are the tensors of the item table.
        """
        self._parts = parts = TrainingParts(
            model=model, table=table, optimizers=optimizers, user_table=user_table
        )
        self._label(parts.weights(), parts.gradients(), parts.state())

    def _label(self, *labelled: Iterable[tuple[str, list[Tensor]]]) -> None:
        for component, tensors in chain(*labelled):
            self.label(component, tensors)

    def _label_gradients(self) -> None:
        if self._parts is not None:
            self._label(self._parts.gradients())

    def _label_state(self) -> None:
        if self._parts is not None:
            self._label(self._parts.state())

    # Phases of the trainer

    def on_phase_start(self, phase: Phase) -> None:
        """Allocations from here on belong to `phase`."""
        self._phases.append(phase)
        self._range_starts.append(_get_sequence_nr())

    def on_phase_end(self, phase: Phase) -> None:
        """Return to the phase around it; label new gradients and optimizer state."""
        self._phases.pop()
        component = BY_PHASE.get(phase)
        first = self._range_starts.pop()
        if phase in (Phase.FORWARD, Phase.LOSS) and component is not None:
            self._forward_ranges.append((first, _get_sequence_nr(), component))
        if phase is Phase.BACKWARD:
            self._label_gradients()
        if phase is Phase.OPTIMIZER:
            self._label_state()

    # Following storages

    def __enter__(self) -> Self:
        ALLOCATION_CALLBACKS.append(self._note_compiled)
        return super().__enter__()

    def _note_compiled(self, tensor: Tensor) -> None:
        """Register a buffer of compiled code, which bypasses `__torch_dispatch__`."""
        self._note(tensor, self._component_now())

    def __exit__(self, *args: Any) -> None:
        """Stop; what is freed from now on is not an event."""
        self._settle_alias()
        self._closed = True
        ALLOCATION_CALLBACKS.remove(self._note_compiled)
        self._label_gradients()
        self._label_state()
        for storage in self._storages:
            storage.reference = None
        super().__exit__(*args)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        # Queries return no tensor, and are the most frequent calls under fake tensors.
        if func is torch.ops.prim.device.default or func.is_view:
            return func(*args, **(kwargs or {}))
        self._settle_alias()
        component = self._component_now()
        # A tensor that is not labelled and that no operation made came in from outside.
        for value in on_device(func, args):
            self._note(value, component)
        if kwargs:
            for value in kwargs.values():
                self._note(value, component)
        result, inside = self._run(func, args, kwargs or {})
        if func in MAY_ADD_IN_PLACE and self._in_place.adds(
            func, args, result, self._made_by(args)
        ):
            self._register_alias(args[0], result)
        self._in_place.note(func, result)
        self._note(on_device(func, result), component)
        if inside:
            self._note_transient(component, inside)
        return result

    def _note(self, value: Any, component: str) -> None:
        if isinstance(value, Tensor):
            for storage in storages_of(value):
                if storage.device.type == self._device_type:
                    key = self._live.get(storage._cdata)
                    if key is None:
                        self._allocate(storage, component)
                    elif self._storages[key].num_bytes != (now := storage.nbytes()):
                        self._event(key, now - self._storages[key].num_bytes)
                        self._storages[key].num_bytes = now
        elif isinstance(value, (tuple, list)):
            for item in value:
                self._note(item, component)

    def _allocate(self, storage: torch.UntypedStorage, component: str) -> None:
        self._event(self._register(storage, component), storage.nbytes())

    def _register(self, storage: torch.UntypedStorage, component: str) -> int:
        """Know the storage by a number from now on, without an event."""
        key = len(self._storages)
        known = Storage(component, storage.nbytes(), current_node())
        self._storages.append(known)
        self._live[storage._cdata] = key
        known.reference = weakref.ref(storage, self._on_free(key, storage._cdata))
        return key

    def _register_alias(self, old: Tensor, new: Tensor) -> None:
        """`new` takes the memory of `old` if that is freed before the next operation."""
        place = self._live.get(old.untyped_storage()._cdata)
        if place is not None:
            storage = self._storages[place]
            self._alias = place, self._register(new.untyped_storage(), storage.component)

    def _made_by(self, args: tuple[Any, ...]) -> tuple[int | None, int | None]:
        """The autograd nodes in which the two first arguments were allocated."""
        found: list[int | None] = [None, None]
        for index, value in enumerate(args[:2]):
            if isinstance(value, Tensor) and value.layout is torch.strided:
                key = self._live.get(value.untyped_storage()._cdata)
                found[index] = None if key is None else self._storages[key].node
        return found[0], found[1]

    def _settle_alias(self) -> None:
        """The old storage was not freed: the new one is an allocation of its own."""
        if self._alias is not None:
            (_, key), self._alias = self._alias, None
            self._event(key, self._storages[key].num_bytes)

    def _on_free(self, key: int, cdata: int) -> Any:
        def on_free(_: Any) -> None:
            if not self._closed:
                if self._alias is not None and key == self._alias[1]:
                    self._settle_alias()
                self._live.pop(cdata, None)
                self._event(key, -self._storages[key].num_bytes)
                if self._alias is not None and key == self._alias[0]:
                    self._settle_alias()

        return on_free

    def _note_transient(self, component: str, num_bytes: int) -> None:
        key = len(self._storages)
        self._storages.append(Storage(component, num_bytes))
        self._event(key, num_bytes)
        self._event(key, -num_bytes)

    def _event(self, key: int, num_bytes: int) -> None:
        self._events.append((key, num_bytes, self._phases[-1] if self._phases else Phase.SETUP))
        self._current += num_bytes
        self.peak_bytes = max(self.peak_bytes, self._current)

    def _component_now(self) -> str:
        phase = self._phases[-1] if self._phases else Phase.SETUP
        if phase is not Phase.BACKWARD:
            return BY_PHASE.get(phase, "other")
        node = torch._C._current_autograd_node()
        if node is None:
            return "loss_workspace"  # the seed gradient of the loss itself
        number = node._sequence_nr()
        for first, end, component in self._forward_ranges:
            if first <= number < end:
                return component
        # Nodes that accumulate gradients have no number of a forward region; what they allocate is
        # rows of the lookup, which are then added to the gradient.
        return "activations"

    # Results

    def peak_components(self) -> dict[str, int]:
        """Live bytes of each component at the instant of the peak; they add up to `peak_bytes`."""
        live: dict[str, int] = dict.fromkeys(COMPONENTS, 0)
        total = 0
        for index, (key, num_bytes, _) in enumerate(self._events):
            if index >= self.window and total == self.peak_bytes:
                break
            live[self._storages[key].component] += num_bytes
            total += num_bytes
        return live

    def timeline(self) -> tuple[TimelineEvent, ...]:
        """Every change in order, each with the phase it happened in and its component."""
        return tuple(
            TimelineEvent(
                event=index, phase=event.phase, component=event.component, bytes=event.num_bytes
            )
            for index, event in enumerate(self.events())
            if event.num_bytes
        )

    def events(self) -> Iterator[MemoryEvent]:
        """Every change in order, for a replay by an allocator."""
        for key, num_bytes, phase in self._events:
            yield MemoryEvent(key, num_bytes, phase, self._storages[key].component)

    @property
    def num_events(self) -> int:
        """The index that the next event will have."""
        return len(self._events)
