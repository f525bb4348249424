"""The tables of a run's TOML file: data, batch, negatives, model, loss, train, device."""

import re
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from scalelab.core import plugins
from scalelab.core.errors import SpecError, nearest
from scalelab.core.locating import absolute
from scalelab.core.tables import Table

__all__ = [
    "BatchSpec",
    "DataSpec",
    "DeviceSpec",
    "LossSpec",
    "ModelSpec",
    "NegativesSpec",
    "PartSpec",
    "TrainSpec",
]


class PartSpec(BaseModel, frozen=True, extra="allow"):
    """A part by name; keys that are not fields of the table are options of the part."""

    kind: ClassVar[str]
    name_field: ClassVar[str] = "name"

    @property
    def part(self) -> str:
        """The name of the part."""
        return getattr(self, self.name_field)

    @property
    def options(self) -> dict[str, Any]:
        """The part's own options."""
        return dict(self.__pydantic_extra__ or {})

    def resolved(self) -> Self:
        """The same with the part's options checked and its defaults filled in. Raises SpecError."""
        # A word that is no option may be a misspelt field of the table itself.
        own = set(type(self).model_fields) - {self.name_field}
        known = set(plugins.options(self.kind, self.part))
        for key in self.options.keys() - known:
            raise SpecError(f"{self.part!r} has no option {key!r}", nearest(key, own | known))
        checked = plugins.check_options(self.kind, self.part, self.options)
        name = absolute(self.part, Path.cwd())
        return type(self)(**{**self._own(), self.name_field: name, **checked})

    def _own(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in type(self).model_fields}


def _as_moment(value: Any) -> str | float:
    """A date as ISO text, a quantile or time as a number; "" for none."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str) and value:
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("write a date such as 2021-04-01, or a quantile such as 0.9") from None
    elif isinstance(value, bool) or (value != "" and not isinstance(value, int | float)):
        raise ValueError("write a date such as 2021-04-01, or a quantile such as 0.9")
    return value


Moment = Annotated[str | float, BeforeValidator(_as_moment)]


class DataSpec(PartSpec, frozen=True, extra="allow"):
    """Where the histories come from, how they are filtered and how they are split.

    `name` is what tables call the data set; empty takes the file's or its folder's. `ties` orders
    interactions of the same time: as in the file, or by a hash of user and item. `drop` leaves out
    rows that repeat user, item and time ("exact"), or the item before ("consecutive"). Splits by
    time are cut at `cut` (a date, or a quantile of all times), else at `quantile`; `valid_cut` ends
    the validation window of "global_time".
    """

    kind: ClassVar[str] = "readers"
    name_field: ClassVar[str] = "reader"

    reader: str = "table"
    path: str | None = None
    name: str = ""
    ties: Literal["file", "hash"] = "file"
    drop: Literal["none", "exact", "consecutive"] = "none"
    split: Literal["leave_one_out", "temporal", "global_time"] = "leave_one_out"
    cut: Moment = ""
    valid_cut: Moment = ""
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.95
    min_item_count: NonNegativeInt = 0
    min_user_count: NonNegativeInt = 0
    exclude_seen: bool = True
    max_eval_users: NonNegativeInt = 0


class BatchSpec(Table, frozen=True):
    """`size` user sequences a step, whatever the packer; rows of `max_len` positions."""

    packer: str = "first_fit"
    size: PositiveInt = 128
    max_len: PositiveInt = 50


class NegativesSpec(PartSpec, frozen=True, extra="allow"):
    """One source of negatives."""

    kind: ClassVar[str] = "negatives"

    name: str = "uniform"
    num_negatives: PositiveInt = 256
    per: Literal["position", "sequence", "batch"] = "position"
    reject: bool = False


class ModelSpec(PartSpec, frozen=True, extra="allow"):
    """An encoder and its options."""

    kind: ClassVar[str] = "models"

    name: str = "sasrec"


class LossSpec(PartSpec, frozen=True, extra="allow"):
    """A loss and its options; `train_on` chooses cumulative or last-step training."""

    kind: ClassVar[str] = "losses"

    name: str = "cross_entropy"
    train_on: Literal["all", "last"] = "all"


class TrainSpec(Table, frozen=True):
    """How long and with what the run trains. `patience` counts evaluations without a better
    NDCG@10. `ema_decay` above 0 validates and keeps a moving average of the weights instead of the
    last ones, for one more tensor a parameter. `precision` is that of matrix products; weights and
    their sums are fp32 always. "tf32" rounds the factors to 10 bits, on CUDA only.
    """

    epochs: PositiveInt = 100
    learning_rate: PositiveFloat = 1e-3
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: NonNegativeFloat = 0.0
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    accumulate: PositiveInt = 1
    compile: bool = False
    patience: NonNegativeInt = 10
    eval_every: PositiveInt = 1
    max_steps: NonNegativeInt = 0
    seed: NonNegativeInt = 0


def _is_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError("a device is auto, cpu, cuda or cuda:1")
    return name


class DeviceSpec(Table, frozen=True):
    """Where the run trains; `threads` = 0 takes all cores.

    `auto` is the GPU of the machine that runs it, or its CPU where there is none; whoever runs,
    fingerprints or stores a spec puts the device in its place first.
    """

    name: Annotated[str, AfterValidator(_is_device)] = "cpu"
    threads: NonNegativeInt = 0
