"""Define what a run leaves behind: frozen records, one class for each table of the ledger."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

__all__ = [
    "LOST",
    "UNFINISHED",
    "Baseline",
    "Environment",
    "Memory",
    "Metric",
    "Outcome",
    "Record",
    "Run",
    "Sample",
    "Stopped",
    "TimelineEvent",
    "UserRanks",
]


class Outcome(StrEnum):
    """How a run ended."""

    RUNNING = "running"
    DONE = "done"
    OOM = "oom"
    TIMEOUT = "timeout"
    DIVERGED = "diverged"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    PRUNED = "pruned"
    SKIPPED = "skipped"


# What has not come to an end: it runs (again) when its study is swept again.
UNFINISHED = frozenset({Outcome.RUNNING, Outcome.INTERRUPTED})
# An end without a result.
LOST = frozenset(Outcome) - UNFINISHED - {Outcome.DONE}


class Stopped(StrEnum):
    """Why training ended: all epochs, no better epoch for long, out of time, no number any more."""

    EPOCHS = "epochs"
    PATIENCE = "patience"
    TIME = "time"
    DIVERGED = "diverged"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of a spec. Times are naive UTC; None where a run did not get that far.

    `resolved` and `origin` are JSON: the options that were really used, with numbers in place of
    "auto", and where the parts come from. `account_error` is how far the account of memory is from
    the allocator's own count, relative. `tied_targets` and `repeated_targets` are shares of the
    test targets: those of the same time as the item before, and those that the user had before.
    `results_version` is the RESULTS_VERSION of the program that ran it, None in rows of ledgers
    that did not keep it: their data were read, and their models evaluated, by older rules.
    """

    run_id: str
    study_id: str | None
    fingerprint: str
    attempt: int
    outcome: Outcome
    phase: str | None
    error: str | None
    dataset: str
    data_fingerprint: str | None
    num_users: int | None
    num_items: int | None
    num_interactions: int | None
    protocol: str
    model: str
    loss: str
    batch_size: int
    max_len: int
    hidden_dim: int | None
    num_negatives: int
    seed: int
    spec: str
    started_at: datetime
    wall_s: float | None
    train_s: float | None
    eval_s: float | None
    best_epoch: int | None
    epochs: int | None
    tokens_per_s: float | None
    wait_fraction: float | None
    resolved: str | None
    origin: str | None
    stopped: Stopped | None
    account_error: float | None
    tied_targets: float | None
    repeated_targets: float | None
    results_version: int | None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One quality figure. `split` is valid or test; `k` is None where the metric has no cut-off.

    With `split` train, one figure of an epoch's training: `loss`, its mean, and `wall_s`, seconds
    from the start of training to the end of the epoch. Epochs without a validation have them too.
    With `split` pretrain, the mean of one objective in an epoch of pre-training.
    """

    split: str
    epoch: int
    name: str
    k: int | None
    value: float


@dataclass(frozen=True, kw_only=True)
class Memory:
    """One figure of memory. `bytes` is None where it could not be read; `reason` then says why."""

    stage: str
    kind: str
    component: str
    bytes: int | None
    reason: str | None
    source: str


@dataclass(frozen=True, kw_only=True)
class TimelineEvent:
    """One change inside the profiled step: `bytes` were allocated (or, negative, freed)."""

    event: int
    phase: str
    component: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One reading over time, `at_s` seconds after the run started."""

    at_s: float
    probe: str
    name: str
    value: float | None
    unit: str


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The machine and the software of a run."""

    host: str
    device: str
    device_bytes: int | None
    driver: str | None
    torch: str
    python: str
    scalelab: str
    commit: str | None
    threads: int


@dataclass(frozen=True, kw_only=True)
class UserRanks:
    """The rank of each test target: 1 for the first, 0 where it has none.

    In the order of the data set's test users; `num_targets` says how many each of them has (None:
    one each). With `one_list` one list is to find all of a user, else each target has its own.
    """

    ranks: tuple[int, ...]
    num_targets: tuple[int, ...] | None = None
    one_list: bool = False


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """One quality figure of a method without training, on one data set and protocol."""

    data_fingerprint: str
    protocol: str
    name: str
    split: str
    metric: str
    k: int | None
    value: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Record:
    """All that one run leaves behind.

    `baselines` belong to its data set and protocol; the first run of these brings them along.
    """

    run: Run
    metrics: tuple[Metric, ...] = field(default=())
    memory: tuple[Memory, ...] = field(default=())
    timeline: tuple[TimelineEvent, ...] = field(default=())
    samples: tuple[Sample, ...] = field(default=())
    environment: Environment | None = None
    user_ranks: UserRanks | None = None
    baselines: tuple[Baseline, ...] = field(default=())
