"""Follow every live byte of a training step of any PyTorch model, by kind and by module.

Nothing in the model changes: modules are followed by torch's global hooks, the optimizer by its
step hooks, the backward pass by the node that autograd is running.
"""

import gc
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.autograd import Variable, _get_sequence_nr  # noqa: PLC2701 # pyright: ignore
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.optim import Optimizer

from scalelab.core.events import Phase
from scalelab.measure.components import Account
from scalelab.measure.storages import storages_of, tensors_in

__all__ = ["KINDS", "ModuleAccount", "ModuleEvent"]

# What a byte can be. Activations are what the forward pass of a module made, in a recomputation by
# checkpointing too; `loss` is made between the model's forward pass and the backward pass;
# `transient` is made by the backward pass or the optimizer and is neither gradient nor state.
KINDS = (
    "parameters",
    "buffers",
    "gradients",
    "optimizer_state",
    "inputs",
    "activations",
    "loss",
    "transient",
)
# What compiled code returns.
_COMPILED = frozenset({"CompiledFunctionBackward"})


class ModuleEvent(NamedTuple):
    """One change of the live bytes of `storage` (a number); `module` is a path ("": the model
    itself, and what no module made).
    """

    storage: int
    num_bytes: int
    phase: str
    kind: str
    module: str


class ModuleAccount(Account):
    """An account whose components are kinds and module paths, of a model that announces nothing.

    While it is active (`with account:`), everything that runs in this thread is followed, and the
    backward pass. `inputs` exist from the start; other tensors that come in from outside do so if
    they were alive when the account began. `compiled_ran` says that code made by torch.compile took
    part, whose inner buffers are not seen. What PyTorch makes without an operation is not seen: the
    5 kB of random state that each checkpoint keeps.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None,
        *,
        device_type: str = "cpu",
        run: Any = None,
        inputs: list[Tensor] | None = None,
    ) -> None:
        super().__init__(device_type, run)
        self._model, self._optimizer = model, optimizer
        self._paths = {id(module): path for path, module in model.named_modules()}
        self._called: list[str] = []
        # Of each call of a module: its range of autograd's sequence numbers, innermost first.
        self._calls: list[tuple[int, int, str]] = []
        self._starts: list[int] = []
        self._hooks = ExitStack()
        self._after_backward = False
        self.compiled_ran = False
        self._label_model()
        self.label(_joined("inputs", ""), inputs or [])

    # Labels

    def _label_model(self) -> None:
        for name, parameter in self._model.named_parameters():
            self.label(_joined("parameters", name.rpartition(".")[0]), [parameter])
        for name, buffer in self._model.named_buffers():
            self.label(_joined("buffers", name.rpartition(".")[0]), [buffer])
        self._label_gradients()
        self._label_state()

    def _label_gradients(self) -> None:
        for name, parameter in self._model.named_parameters():
            if parameter.grad is not None:
                self.label(_joined("gradients", name.rpartition(".")[0]), [parameter.grad])

    def _label_state(self) -> None:
        if self._optimizer is None:
            return
        names = {id(parameter): name for name, parameter in self._model.named_parameters()}
        for parameter, state in self._optimizer.state.items():
            path = names.get(id(parameter), "").rpartition(".")[0]
            self.label(_joined("optimizer_state", path), tensors_in(state))

    # Phases and modules, by hooks

    def __enter__(self) -> Self:
        # Fake tensors are all made or labelled under our eyes.
        self._alive = {} if self._device_type == "meta" else _alive_before()
        hooks = self._hooks
        for handle in (
            register_module_forward_pre_hook(self._before_module),
            register_module_forward_hook(self._after_module, always_call=True),
        ):
            hooks.callback(handle.remove)
        if self._optimizer is not None:
            first = self._optimizer.register_step_pre_hook(self._before_step)
            hooks.callback(first.remove)
            last = self._optimizer.register_step_post_hook(self._after_step)
            hooks.callback(last.remove)
        return super().__enter__()

    def __exit__(self, *args: Any) -> None:
        self._hooks.close()
        super().__exit__(*args)
        self._alive = {}

    def _before_module(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        path = self._paths.get(id(module))
        if path is None:
            return
        if not self._called and self._phase() not in (Phase.BACKWARD, Phase.OPTIMIZER):
            self._enter(Phase.FORWARD)
        self._called.append(path)
        self._starts.append(_get_sequence_nr())

    def _after_module(self, module: nn.Module, args: Any, result: Any) -> None:
        if id(module) not in self._paths:
            return
        path = self._called.pop()
        self._calls.append((self._starts.pop(), _get_sequence_nr(), path))
        if not self._called and self._phase() is Phase.FORWARD:
            self._enter(Phase.LOSS)

    def _before_step(self, *args: Any) -> None:
        self._enter(Phase.OPTIMIZER)

    def _after_step(self, *args: Any) -> None:
        self._enter(None)
        self._after_backward = False

    def _phase(self) -> Phase | None:
        return self._phases[-1] if self._phases else None

    def _enter(self, phase: Phase | None) -> None:
        """Leave the phase at hand, so that gradients and state are labelled, and begin another."""
        if self._phases:
            self.on_phase_end(self._phases[-1])
        if phase is not None:
            self.on_phase_start(phase)
            if self._storages:
                # A phase that allocates nothing has a peak all the same: what is there.
                self._event(0, 0)

    def _watch_backward(self) -> None:
        """The first operation of a backward pass begins that phase; autograd reports its end."""
        if self._phase() is Phase.BACKWARD or torch._C._current_autograd_node() is None:
            return
        around = self._phase()
        self._enter(Phase.BACKWARD)

        def over() -> None:
            # A gradient taken inside the forward pass leaves us there.
            self._enter(around if self._called else None)
            self._after_backward = True

        Variable._execution_engine.queue_callback(over)

    # Following storages

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self._watch_backward()
        if not func.is_view:
            self._note_inputs([*args, *(kwargs or {}).values()])
        return super().__torch_dispatch__(func, types, args, kwargs)

    def _note_inputs(self, values: Any) -> None:
        """What nobody labelled and no operation made came in from outside."""
        for value in values:
            if isinstance(value, (tuple, list)):
                self._note_inputs(value)
            elif isinstance(value, Tensor):
                for storage in storages_of(value):
                    known = storage.device.type != self._device_type or storage._cdata in self._live
                    if not known:
                        self._note(value, _joined("inputs", ""))
                        self._was_alive(storage)
                        if type(value.grad_fn).__name__ in _COMPILED:
                            self.compiled_ran = True

    def _was_alive(self, storage: torch.UntypedStorage) -> None:
        """Count it from the start if it was there: its first use is not its allocation."""
        before = self._alive.get(storage._cdata)
        if before is not None and before() is storage:
            self._events.insert(0, self._events.pop())

    def _component_now(self) -> str:
        phase = self._phase()
        if self._called:
            return _joined("activations", self._called[-1])
        if phase is Phase.BACKWARD:
            return _joined("transient", self._module_of_node())
        if phase is Phase.LOSS:
            return _joined("loss", "")
        if phase is Phase.OPTIMIZER or self._after_backward:
            return _joined("transient", "")
        return _joined("inputs", "")

    def _module_of_node(self) -> str:
        node = torch._C._current_autograd_node()
        if node is None:
            return ""
        number = node._sequence_nr()
        for first, end, path in self._calls:
            if first <= number < end:
                return path
        return ""

    def module_events(self) -> Iterator[ModuleEvent]:
        """Every change in order."""
        for storage, num_bytes, phase, component in self.events():
            kind, _, module = component.partition(":")
            named = "outside" if phase == Phase.SETUP else str(phase)
            yield ModuleEvent(storage, num_bytes, named, kind, module)


def _joined(kind: str, path: str) -> str:
    return f"{kind}:{path}"


def _alive_before() -> dict[int, Any]:
    """Every dense storage that a tensor known to Python holds now, by a weak reference.

    The type is looked at, not the object: a proxy among all objects would run code of its own.
    """
    found: dict[int, Any] = {}
    for value in gc.get_objects():
        if issubclass(type(value), Tensor) and value.layout is torch.strided:
            storage = value.untyped_storage()
            found[storage._cdata] = weakref.ref(storage)
    return found
