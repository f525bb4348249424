"""Follow every live byte of a step and say which component it belongs to: the account.

One `TorchDispatchMode` follows the life of every storage, on real tensors and on fake ones alike. A
byte's component comes from the announced phase, in the backward pass from the sequence number of
the running node, and at last from the role that the storage took: a buffer that becomes a gradient
is one from its first moment.
"""

import weakref
from collections.abc import Iterable, Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd import _get_sequence_nr  # noqa: PLC2701 # pyright: ignore
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: PLC2701

from scalelab.core.events import Observer, Phase
from scalelab.core.records import TimelineEvent
from scalelab.measure.compiled import LISTENERS
from scalelab.measure.names import BY_PHASE, COMPONENTS
from scalelab.measure.storages import storages_of, tensors_in
from scalelab.measure.workspaces import IN_PLACE_UNOBSERVED, RUN, Run

__all__ = ["COMPONENTS", "Account"]


class _Life:
    """One storage from allocation to death. `_cdata` is reused, so a life has its own key."""

    __slots__ = ("component", "num_bytes", "reference", "settled")

    def __init__(self, component: str, num_bytes: int, settled: bool) -> None:
        self.component = component
        self.num_bytes = num_bytes
        self.settled = settled
        self.reference: Any = None


class Account(TorchDispatchMode, Observer):
    """Follows live tensor bytes on one kind of device while it is active (`with account:`).

    Label what exists before (`label`, `label_training`), let it hear the trainer's phases as an
    observer, and read `peak_bytes`, `peak_components`, `timeline()` afterwards. Bytes are
    requested bytes: neither rounded nor cached by an allocator. `run` replaces the way in which
    what an operation holds for itself is found on this kind of device.
    """

    def __init__(self, device_type: str = "cpu", run: Run | None = None) -> None:
        super().__init__()
        self._device_type = device_type
        self._run = run or RUN[device_type]
        self._lives: list[_Life] = []
        self._open: dict[int, int] = {}
        # (life, bytes, phase): the whole story, from which everything else is told.
        self._events: list[tuple[int, int, str]] = []
        self._phases: list[Phase] = []
        self._forward_ranges: list[tuple[int, int, str]] = []
        self._range_starts: list[int] = []
        self._parts: tuple[nn.Module, Tensor, torch.optim.Optimizer] | None = None
        self._heir: tuple[int, int] | None = None  # a life, and the one that takes its place
        self._current = 0
        self.window = 0  # index in the story at which the window of the peak starts
        self._closed = False
        self.peak_bytes = 0

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Keep `torch.compile` as it is: an active mode would make Dynamo skip, for good."""
        return True

    def start_window(self) -> None:
        """Peaks count from here on; what is alive now is their floor."""
        self._settle_heir()
        self.window = len(self._events)
        self.peak_bytes = self._current

    # Labels

    def label(self, component: str, tensors: Iterable[Tensor]) -> None:
        """These tensors belong to `component`, from their first moment on."""
        for tensor in tensors:
            for storage in storages_of(tensor):
                if storage.device.type != self._device_type:
                    continue
                key = self._open.get(storage._cdata)
                if key is None:
                    self._begin(storage, component, settled=True)
                else:
                    self._lives[key].component = component
                    self._lives[key].settled = True

    def label_training(
        self, model: nn.Module, item_table: Tensor, optimizer: torch.optim.Optimizer
    ) -> None:
        """Parameters, buffers, gradients and optimizer state of one training, now and later."""
        self._parts = (model, item_table, optimizer)
        for tensor in [*model.parameters(), *model.buffers()]:
            is_table = tensor.untyped_storage()._cdata == item_table.untyped_storage()._cdata
            self.label("item_table" if is_table else "encoder_parameters", [tensor])
        self._label_gradients()
        self._label_state()

    def _label_gradients(self) -> None:
        if self._parts is None:
            return
        model, item_table, _ = self._parts
        table = item_table.untyped_storage()._cdata
        for parameter in model.parameters():
            if parameter.grad is not None:
                is_table = parameter.untyped_storage()._cdata == table
                component = "item_table_gradient" if is_table else "encoder_gradients"
                self.label(component, [parameter.grad])

    def _label_state(self) -> None:
        if self._parts is not None:
            self.label("optimizer_state", tensors_in(self._parts[2].state))

    # What the trainer announces

    def on_phase_start(self, phase: Phase) -> None:
        """Allocations from here on belong to `phase`."""
        self._phases.append(phase)
        self._range_starts.append(_get_sequence_nr())

    def on_phase_end(self, phase: Phase) -> None:
        """Back to the phase around it; gradients and optimizer state take their final role."""
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
        LISTENERS.append(self._note_compiled)
        return super().__enter__()

    def _note_compiled(self, tensor: Tensor) -> None:
        """A buffer of compiled code, which comes past `__torch_dispatch__`."""
        self._note(tensor, self._component_now())

    def __exit__(self, *args: Any) -> None:
        """Stop listening; what dies from now on is no part of the story."""
        self._settle_heir()
        self._closed = True
        LISTENERS.remove(self._note_compiled)
        self._label_gradients()
        self._label_state()
        for life in self._lives:
            life.reference = None
        super().__exit__(*args)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        # Queries return no tensor, and are the most frequent calls under fake tensors.
        if func is torch.ops.prim.device.default or func.is_view:
            return func(*args, **(kwargs or {}))
        self._settle_heir()
        component = self._component_now()
        # A tensor that nobody labelled and no operation made: it came in from outside.
        for value in args:
            self._note(value, component)
        if kwargs:
            for value in kwargs.values():
                self._note(value, component)
        result, inside = self._run(func, args, kwargs or {})
        if self._in_place_without_us(func):
            self._begin_in_place_of(args[0], result)
        self._note(result, component)
        if inside:
            self._flash(component, inside)
        return result

    def _note(self, value: Any, component: str) -> None:
        if isinstance(value, Tensor):
            for storage in storages_of(value):
                if storage.device.type == self._device_type:
                    key = self._open.get(storage._cdata)
                    if key is None:
                        self._begin(storage, component, settled=False)
                    elif self._lives[key].num_bytes != (now := storage.nbytes()):
                        self._event(key, now - self._lives[key].num_bytes)
                        self._lives[key].num_bytes = now
        elif isinstance(value, (tuple, list)):
            for item in value:
                self._note(item, component)

    def _begin(self, storage: torch.UntypedStorage, component: str, *, settled: bool) -> None:
        self._event(self._born(storage, component, settled), storage.nbytes())

    def _born(self, storage: torch.UntypedStorage, component: str, settled: bool) -> int:
        key = len(self._lives)
        life = _Life(component, storage.nbytes(), settled)
        self._lives.append(life)
        self._open[storage._cdata] = key
        life.reference = weakref.ref(storage, self._at_death(key, storage._cdata))
        return key

    def _in_place_without_us(self, func: Any) -> bool:
        """Gradients of lookups; the sum of two gradients that meet, made before a node runs."""
        if not self._phases or self._phases[-1] is not Phase.BACKWARD:
            return False
        if func is torch.ops.aten.add.Tensor:
            return torch._C._current_autograd_node() is None
        return func in IN_PLACE_UNOBSERVED

    def _begin_in_place_of(self, old: Any, new: Tensor) -> None:
        """`new` takes the place of `old` if that dies at once, as it would in a step unobserved."""
        if old.layout is not torch.strided or new.layout is not torch.strided:
            return
        storage = new.untyped_storage()
        place = self._open.get(old.untyped_storage()._cdata)
        # Of another size it could not have been the same memory (an expanded gradient, say).
        if place is not None and self._lives[place].num_bytes == storage.nbytes():
            component = self._lives[place].component
            self._heir = place, self._born(storage, component, settled=False)

    def _settle_heir(self) -> None:
        """The place was not left: both are there."""
        if self._heir is not None:
            (_, key), self._heir = self._heir, None
            self._event(key, self._lives[key].num_bytes)

    def _at_death(self, key: int, cdata: int) -> Any:
        def died(_: Any) -> None:
            if not self._closed:
                if self._heir is not None and key == self._heir[1]:
                    self._settle_heir()
                self._open.pop(cdata, None)
                self._event(key, -self._lives[key].num_bytes)
                if self._heir is not None and key == self._heir[0]:
                    self._settle_heir()

        return died

    def _flash(self, component: str, num_bytes: int) -> None:
        key = len(self._lives)
        self._lives.append(_Life(component, num_bytes, settled=True))
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
        # Accumulating nodes have no number of a forward region; what they hold for a moment is rows
        # of the lookup on their way into the gradient.
        return "activations"

    # The story, told

    def peak_components(self) -> dict[str, int]:
        """Live bytes of each component at the instant of the peak; they add up to `peak_bytes`."""
        live: dict[str, int] = dict.fromkeys(COMPONENTS, 0)
        total = 0
        for index, (key, num_bytes, _) in enumerate(self._events):
            if index >= self.window and total == self.peak_bytes:
                break
            live[self._lives[key].component] += num_bytes
            total += num_bytes
        return live

    def timeline(self) -> tuple[TimelineEvent, ...]:
        """Every change in order, each with the phase it happened in and its component."""
        return tuple(
            TimelineEvent(event=index, phase=phase, component=component, bytes=num_bytes)
            for index, (_, num_bytes, phase, component) in enumerate(self.story())
            if num_bytes
        )

    def story(self) -> Iterator[tuple[int, int, str, str]]:
        """(life, bytes, phase, component) of every change, for a replay through an allocator."""
        for key, num_bytes, phase in self._events:
            yield key, num_bytes, phase, self._lives[key].component

    @property
    def num_events(self) -> int:
        """The index in the story that the next change will have."""
        return len(self._events)
