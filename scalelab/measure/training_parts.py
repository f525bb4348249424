"""Say which component each tensor of a training belongs to: weights, gradients, optimizer state."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scalelab.measure.storages import tensors_in

__all__ = ["TrainingParts"]

_Labelled = Iterator[tuple[str, list[Tensor]]]


@dataclass(frozen=True, kw_only=True)
class TrainingParts:
    """A model, the tensors of its item table, its table of users if it has one, its optimizers.

    Weights, gradient and optimizer state of the table of users are one component: what it costs.
    """

    model: nn.Module
    table: Sequence[Tensor]
    optimizers: tuple[torch.optim.Optimizer, ...]
    user_table: Tensor | None = None

    def weights(self) -> _Labelled:
        """Parameters and buffers."""
        for tensor in [*self.model.parameters(), *self.model.buffers()]:
            component = "item_table" if self._is_table(tensor) else "encoder_parameters"
            yield self._of_users(tensor) or component, [tensor]

    def gradients(self) -> _Labelled:
        """Those that are there."""
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                is_table = self._is_table(parameter)
                component = "item_table_gradient" if is_table else "encoder_gradients"
                yield self._of_users(parameter) or component, [parameter.grad]

    def state(self) -> _Labelled:
        """Of all optimizers."""
        for optimizer in self.optimizers:
            yield "optimizer_state", list(tensors_in(optimizer.state))
            if self.user_table is not None and self.user_table in optimizer.state:
                yield "user_table", list(tensors_in(optimizer.state[self.user_table]))

    def _is_table(self, tensor: Tensor) -> bool:
        storage = tensor.untyped_storage()._cdata
        return any(storage == part.untyped_storage()._cdata for part in self.table)

    def _of_users(self, tensor: Tensor) -> str | None:
        return "user_table" if tensor is self.user_table else None
