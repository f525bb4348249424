"""Account for a step on fake tensors as a CPU, or as CUDA, would run it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor  # noqa: PLC2701
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves  # noqa: PLC2701

from scalelab.any_model.cuda_known import unknown_on_cuda
from scalelab.any_model.module_account import ModuleAccount, ModuleEvent
from scalelab.core.errors import SpecError
from scalelab.core.units import KIB, format_bytes
from scalelab.measure.trials import Trials
from scalelab.measure.workspaces import predicted_on_cuda
from scalelab.planning.cublas import workspaces_for
from scalelab.planning.cuda import as_on_cuda
from scalelab.planning.devices import DeviceProfile
from scalelab.planning.limits import target_for

__all__ = ["FakeStep"]


class FakeStep(ModuleAccount):
    """The account of a step on fake tensors for `device`: `with step.around(), step:`.

    `kept` are (event, bytes) of cuBLAS workspaces, `reasons` say why the bytes are not exact.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None,
        inputs: list[Tensor],
        device: DeviceProfile,
    ) -> None:
        self._trials = Trials()
        self._on_cuda: as_on_cuda | None = None
        self._found: dict[str, None] = {}
        self._foreign: dict[int, int] = {}
        target = target_for(device)
        if target is not None:
            self._on_cuda = as_on_cuda(target)
            self._workspaces = workspaces_for(device)
            _choose_foreach(optimizer)
        run = self._trials.run if self._on_cuda is None else self._run_on_cuda
        super().__init__(model, optimizer, device_type="meta", run=run, inputs=inputs)

    def around(self) -> AbstractContextManager[Any]:
        """What is active outside the account."""
        return nullcontext() if self._on_cuda is None else self._on_cuda

    @property
    def kept(self) -> list[tuple[int, int]]:
        """Workspaces by the event before which they are taken."""
        return [] if self._on_cuda is None else self._workspaces.noted

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the bytes are not exact, if they are not."""
        found = dict(self._found)
        found |= self._trials.reasons if self._on_cuda is None else self._on_cuda.reasons
        if any(parameter.dtype is torch.float64 for parameter in self._model.parameters()):
            found["seconds are those of float32, and this model computes in float64"] = None
        foreign = sum(self._foreign.values())
        if foreign > KIB:
            found[
                f"{format_bytes(foreign)} of tensors that the step uses and `inputs` does not hold "
                "are not counted"
            ] = None
        return tuple(found)

    def module_events(self) -> Iterator[ModuleEvent]:
        """Every change in order, but for what CUDA keeps on the host (0 bytes, to keep places)."""
        hosted = self._hosted()
        for event in super().module_events():
            yield (
                event._replace(num_bytes=0, kind="transient") if event.storage in hosted else event
            )

    def _hosted(self) -> set[int]:
        if self._on_cuda is None or self._optimizer is None:
            return set()
        on_host: set[int] = set()
        for group in self._optimizer.param_groups:
            if group.get("capturable") or group.get("fused"):
                continue
            for parameter in group["params"]:
                counter = self._optimizer.state[parameter].get("step")
                if isinstance(counter, Tensor):
                    on_host.add(self._live[counter.untyped_storage()._cdata])
        return on_host

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, Tensor) and not isinstance(value, FakeTensor):
                self._note_foreign(value)
        return super().__torch_dispatch__(func, types, args, kwargs)

    def _note_foreign(self, tensor: Tensor) -> None:
        if tensor.requires_grad:
            raise SpecError(
                f"the step uses a parameter of size {tuple(tensor.shape)} that is not one of the "
                "model it is given",
                "use the arguments of step(model, inputs); what else is trained belongs in model",
            )
        self._foreign[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()

    def _run_on_cuda(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> tuple[Any, int]:
        reason = unknown_on_cuda(func, args, kwargs)
        if reason is not None:
            self._found[reason] = None
        self._workspaces.note(func, args, self.num_events)
        return predicted_on_cuda(func, args, kwargs)


def _choose_foreach(optimizer: Optimizer | None) -> None:
    """What optimizers choose by themselves for parameters on CUDA."""
    for group in [] if optimizer is None else optimizer.param_groups:
        chooses = "foreach" in group and group["foreach"] is None
        if chooses and not group.get("fused") and not group.get("differentiable"):
            group["foreach"] = True
