"""Define the section train of a run: how weights and the item table are updated."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from scalelab.core.toml_sections import Section

__all__ = ["Schedule", "TableSpec", "TrainSpec"]

Schedule = Literal["constant", "linear", "cosine"]


class TableSpec(Section, frozen=True):
    """How the item table is updated, where that differs from the encoder's weights.

    "dense" holds the gradient of the whole table. "streamed" makes the gradient of some rows after
    the other, updates these rows and forgets it; the numbers are the same. What is left out is as
    in [train].
    """

    update: Literal["dense", "streamed"] = "dense"
    """Whether the table's whole gradient is held, or made and used row by row."""
    optimizer: (
        Literal["adam", "adamw", "sgd", "rowwise_adagrad", "rowwise_adam", "lazy_adam"] | None
    ) = None
    """How the item table is updated; left out: train.optimizer."""
    learning_rate: PositiveFloat | None = None
    """Step size of the table's optimizer; left out: train.learning_rate."""
    weight_decay: NonNegativeFloat | None = None
    """Weight decay of the item table; left out: train.weight_decay."""
    schedule: Schedule | None = None
    """How the table's step size falls over the run; left out: train.schedule."""
    clip_value: NonNegativeFloat = 0.0
    """Largest size of each number of the table's gradient; 0: no limit."""


class TrainSpec(Section, frozen=True):
    """How long and with what the run trains. `patience` counts evaluations without a better
    `evaluate.metric`, from the first that is 1.1 times that of the popularity list, at the latest
    after 2,000 updates. `ema_decay` above 0 validates and keeps a moving average of the weights
    instead of the last ones, for one more tensor a parameter. `precision` is that of matrix
    products; weights and their sums are fp32 always. "tf32" rounds the factors to 10 bits, on
    CUDA only.
    """

    epochs: PositiveInt = 100
    """Most passes over the training data."""
    learning_rate: PositiveFloat = 1e-3
    """Step size of the optimizer."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """How weights are updated."""
    weight_decay: NonNegativeFloat = 0.0
    """Weight decay of the optimizer."""
    schedule: Schedule = "constant"
    """How the step size falls over the run, towards 0 after its last update."""
    warmup_updates: NonNegativeInt = 0
    """First updates, in which step sizes grow from 0 to their full size."""
    clip_norm: NonNegativeFloat = 0.0
    """Largest norm of the gradient of the weights of train.optimizer; 0: no limit."""
    table: TableSpec = TableSpec()
    """How the item table is updated."""
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Decay per step of the moving average of the weights that is kept; 0: none."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    """Precision of matrix products; weights stay fp32; tf32 on CUDA only."""
    accumulate: PositiveInt = 1
    """Steps whose gradients are added before one update."""
    compile: bool = False
    """Whether torch.compile makes the encoder."""
    patience: NonNegativeInt = 10
    """Evaluations without a better evaluate.metric before training stops; 0: never."""
    eval_every: PositiveInt = 1
    """Epochs between two evaluations."""
    max_steps: NonNegativeInt = 0
    """Most training steps; 0: no limit."""
    seed: NonNegativeInt = 0
    """Seed of first weights, dropout, order of users, and negatives."""
