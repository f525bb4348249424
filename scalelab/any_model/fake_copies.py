"""Copy a model, its optimizer and inputs to fake tensors, without a byte of the originals."""

import copy
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes  # noqa: PLC2701

from scalelab.core.errors import SpecError

__all__ = ["Copies"]

# What an optimizer holds for its own bookkeeping: hooks are the user's own, and a learning-rate
# scheduler replaces `step` of the instance by one that is bound to the original.
_LEFT_OUT = ("step", "_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


class Copies(TorchFunctionMode):
    """Copies by `copy.deepcopy`, in which every tensor becomes a fake one on the CPU (`made`).

    Tensors that are one before are one after (tied weights), also between two calls of `copied`.
    Those of a model on another device, or on none ("meta"), may be copied as well.
    """

    def __init__(self, fake: FakeTensorMode) -> None:
        super().__init__()
        self._fake = fake
        self._memo: dict[int, Any] = {}
        # The memo goes by addresses, so what it has seen must live as long as it does.
        self._originals: list[Any] = []
        self.made: list[Tensor] = []

    def model(self, model: nn.Module) -> nn.Module:
        """The model with fake parameters and buffers and no gradients."""
        for tensor in [*model.parameters(), *model.buffers()]:
            self._copy(tensor)
        return self.copied(model, "the model")

    def optimizer(self, optimizer: Optimizer) -> Optimizer:
        """An optimizer of the copied parameters, with the state that the original has."""
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                self._copy(parameter)
        new: Any = object.__new__(type(optimizer))
        kept = {k: v for k, v in vars(optimizer).items() if k not in _LEFT_OUT and k != "state"}
        new.__dict__.update(self.copied(kept, "the optimizer"))
        state: Any = defaultdict(dict)
        for parameter, values in optimizer.state.items():
            state[self.copied(parameter, "the optimizer")] = self.copied(values, "the optimizer")
        new.state = state
        # It makes the hooks anew.
        new.__setstate__({})
        return new

    def copied(self, value: Any, what: str) -> Any:
        """Any object. Raises SpecError where it cannot be copied."""
        try:
            with self:
                return copy.deepcopy(value, self._memo)
        except (TypeError, copy.Error) as error:
            raise SpecError(
                f"{what} cannot be copied: {error}", "copy.deepcopy of it must work"
            ) from error

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.__deepcopy__:
            return self._copy(args[0])
        return func(*args, **(kwargs or {}))

    def _copy(self, tensor: Tensor) -> Tensor:
        known = self._memo.get(id(tensor))
        if known is None:
            self._originals.append(tensor)
            known = self._memo[id(tensor)] = self._fake_of(tensor)
            self.made.append(known)
        return known

    def _fake_of(self, tensor: Tensor) -> Tensor:
        if tensor.layout is not torch.strided:
            raise SpecError(
                f"a tensor of layout {tensor.layout} cannot be copied", "give dense tensors"
            )
        is_scalar = tensor.dim() == 0 and tensor.device.type != "meta"
        if is_scalar and not tensor.requires_grad:
            # With its value, since an optimizer computes with the number of its steps.
            with _disable_current_modes():
                value = tensor.item()
            with self._fake:
                return torch.tensor(value, dtype=tensor.dtype)
        if tensor.device.type == "cpu":
            made = self._fake.from_tensor(tensor, static_shapes=True)
            made.grad = None
            return made
        with self._fake:
            made = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype)
            if isinstance(tensor, nn.Parameter):
                return nn.Parameter(made, tensor.requires_grad)
            return made.requires_grad_(tensor.requires_grad)
