"""Define the sections of a run's TOML file: data, batch, negatives, model, table, loss and more."""

import re
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
)

from scalelab.core import plugins
from scalelab.core.errors import SpecError, nearest
from scalelab.core.locating import absolute
from scalelab.core.renamed import new_name
from scalelab.core.toml_sections import Numbers, Section

__all__ = [
    "BatchSpec",
    "DataSpec",
    "DeviceSpec",
    "ItemTableSpec",
    "LossSpec",
    "MeasureSpec",
    "ModelSpec",
    "NegativesSpec",
    "PartSpec",
]


# Places of rows and positions are 32-bit numbers.
Count = Annotated[int, Field(ge=1, lt=2**31)]

# Options of which each is built and planned by itself. The deepest transformers that were trained
# have a thousand blocks.
_ONE_BY_ONE = ("num_blocks", "rounds")
_MOST_ONE_BY_ONE = 1000


class PartSpec(Numbers, frozen=True, extra="allow", use_attribute_docstrings=True):
    """A part by name; keys that are not fields of the section are options of the part."""

    kind: ClassVar[str]
    section: ClassVar[str]
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
        # A word that is not an option may be a misspelt field of the section itself.
        own = set(type(self).model_fields) - {self.name_field}
        known = set(plugins.options(self.kind, self.part))
        for key in self.options.keys() - known:
            message = f"{self.part!r} has no option {key!r}"
            renamed = new_name(self.section, key)
            if renamed in own | known:
                raise SpecError(f"{message} any more", f"write {self.section}.{renamed}")
            raise SpecError(message, nearest(key, own | known))
        checked = plugins.check_options(self.kind, self.part, self.options)
        for key in checked.keys() & _ONE_BY_ONE:
            if isinstance(checked[key], int) and checked[key] > _MOST_ONE_BY_ONE:
                raise SpecError(
                    f"{self.section}.{key} = {checked[key]:,}: each is planned by itself",
                    f"write {self.section}.{key} = {_MOST_ONE_BY_ONE} or less",
                )
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
    the validation window of "global_time". "sessions" takes each history for a session and splits
    them by their order (of first clock times, else of numeric ids, else of first appearance): there
    the cuts are shares of all sessions, their numbers or dates. `recent_days` is the window of the
    baseline that counts recent interactions only; no run depends on it.
    """

    kind: ClassVar[str] = "readers"
    section: ClassVar[str] = "data"
    name_field: ClassVar[str] = "reader"

    reader: str = "table"
    """Format of the data, see scalelab list readers."""
    path: str | None = None
    """File, folder or glob of parts; a bare name is also looked for in SCALELAB_DATA."""
    name: str = ""
    """What tables call the data set; empty: the name of the file or its folder."""
    ties: Literal["file", "hash"] = "file"
    """Order of a user's interactions of the same time: as in the file, or by a hash."""
    drop: Literal["none", "exact", "consecutive"] = "none"
    """Repeats to leave out; exact: same user, item and time; consecutive: the item just before."""
    split: Literal["leave_one_out", "temporal", "global_time", "sessions"] = "leave_one_out"
    """Which interactions are held out for validation and test."""
    test_items: Count = 1
    """Last items of each history that leave_one_out keeps from training; the last one tests."""
    targets: Literal["last", "successive", "all"] | None = None
    """What of a held-out window is ranked; left out: last, of sessions successive."""
    cut: Moment = ""
    """First moment held out: a date, a quantile, or a number of sessions; empty: quantile."""
    valid_cut: Moment = ""
    """End of validation for global_time and sessions: as cut; empty: the middle of the rest."""
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Share of all interactions by time, or of all sessions, that lies before the cut."""
    min_item_count: NonNegativeInt = 0
    """Items with fewer interactions are left out."""
    min_user_count: NonNegativeInt = 0
    """Users with fewer interactions are left out."""
    exclude_seen: bool = True
    """Whether items of the user's own history are left out of the ranking."""
    max_eval_users: NonNegativeInt = 0
    """Most users that are evaluated, evenly spaced; 0: all."""
    recent_days: PositiveFloat = 30.0
    """Days before the last training interaction that the recent popularity baseline counts."""

    @property
    def recent_baseline(self) -> str:
        """The name of the baseline that counts the last `recent_days`."""
        return f"popularity_{self.recent_days:g}_days"


class BatchSpec(Section, frozen=True):
    """`size` user sequences a step, whatever the packer; rows of `max_len` positions.

    The packer "prefixes" makes a sequence of every prefix of a history; `size` then counts these.
    """

    packer: str = "first_fit"
    """How sequences are laid into rows, see scalelab list packers."""
    size: Count = 128
    """User sequences (with the packer prefixes: prefixes of them) per training step."""
    max_len: Count = 50
    """Positions of a row; longer histories keep their last max_len + 1 items."""


class NegativesSpec(PartSpec, frozen=True, extra="allow"):
    """One source of negatives."""

    kind: ClassVar[str] = "negatives"
    section: ClassVar[str] = "negatives"

    name: str = "uniform"
    """How negatives are drawn, see scalelab list negatives."""
    num_negatives: Count = 256
    """Negatives drawn for each position, sequence or batch."""
    per: Literal["position", "sequence", "batch"] = "position"
    """What has negatives of its own."""
    reject: bool = False
    """Whether items of the user's training history are drawn anew."""


class ModelSpec(PartSpec, frozen=True, extra="allow"):
    """An encoder and its options."""

    kind: ClassVar[str] = "models"
    section: ClassVar[str] = "model"

    name: str = "sasrec"
    """The encoder, see scalelab list models."""
    table_dtype: Literal["fp32", "bf16"] = "fp32"
    """Type of the item table's numbers; bf16 needs train.table.update = "streamed"."""


class ItemTableSpec(PartSpec, frozen=True, extra="allow"):
    """How the numbers of the items are kept. `train.table` says how they are updated."""

    kind: ClassVar[str] = "tables"
    section: ClassVar[str] = "table"

    name: str = "full"
    """How the item table is kept, see scalelab list tables."""


class LossSpec(PartSpec, frozen=True, extra="allow"):
    """A loss and its options; `train_on` chooses cumulative or last-step training."""

    kind: ClassVar[str] = "losses"
    section: ClassVar[str] = "loss"

    name: str = "cross_entropy"
    """The loss, see scalelab list losses."""
    train_on: Literal["all", "last"] = "all"
    """Positions that the loss is taken at: all of a sequence, or its last one."""


def _is_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError("a device is auto, cpu, cuda or cuda:1")
    return name


class DeviceSpec(Section, frozen=True):
    """Where the run trains; `threads` = 0 takes all cores.

    `auto` is the GPU of the machine that runs it, or its CPU where there is none; whoever runs,
    fingerprints or stores a spec puts the device in its place first.
    """

    name: Annotated[str, AfterValidator(_is_device)] = "cpu"
    """One of auto, cpu, cuda, cuda:N; auto is the GPU where there is one."""
    threads: NonNegativeInt = 0
    """Threads of the CPU; 0: all cores."""


class MeasureSpec(Section, frozen=True):
    """What is read while the run trains, beside the memory of its components. Changes no number."""

    probes: tuple[str, ...] = ("step_timer", "host_rss", "kernel_used", "nvml")
    """What is measured meanwhile, see scalelab list probes; those of GPUs are left out on a CPU."""
