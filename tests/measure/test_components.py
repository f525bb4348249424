import gc
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scalelab.core import plugins
from scalelab.core.errors import MissingExtra
from scalelab.core.events import Phase
from scalelab.measure import compiled
from scalelab.measure.components import COMPONENTS, Account
from scalelab.measure.passes import account_of, batch_tensors, micro_steps
from scalelab.measure.workspaces import predicted
from scalelab.train.assemble import assemble

Small = Callable[[dict[str, Any]], Any]
Profiler = Callable[[Callable[[], object]], int]
# Peaks of a few megabytes: what the table of workspaces leaves out (scalars) must not matter.
LARGE = {"data.num_items": 6000, "batch.size": 128, "batch.max_len": 50}


def _runnable(kind: str) -> list[str]:
    found = []
    for name in plugins.available(kind):
        try:
            plugins.load(kind, name)
        except MissingExtra:
            continue
        if name not in {"cut_ce", "liger_ce"}:  # these run on a GPU alone
            found.append(name)
    return found


VARIANTS = [
    *(
        {"loss.name": loss, "train.precision": precision}
        for loss in _runnable("losses")
        for precision in ("fp32", "bf16")
    ),
    *({"model.name": model, "loss.name": "bce"} for model in _runnable("models")),
    {"train.accumulate": 2},
    {"train.optimizer": "sgd"},
    {"train.ema_decay": 0.99},
    pytest.param(
        {"train.compile": True},
        # torch's compiler warns of its own doings.
        marks=[pytest.mark.filterwarnings("ignore"), pytest.mark.slow],
        id="compiled",
    ),
    {"batch.packer": "pad_left", "loss.train_on": "last"},
]


@pytest.mark.slow
@pytest.mark.parametrize("changes", VARIANTS, ids=lambda c: "-".join(map(str, c.values())))
def test_the_peak_is_the_profilers_own_count(
    changes: dict[str, Any], small: Small, profiler_peak: Profiler
) -> None:
    if "train.compile" in changes:
        if shutil.which("g++") is None:
            pytest.skip("torch.compile wants a C++ compiler on a CPU")
        compiled.report_allocations()
    trainer = assemble(small(LARGE | changes))
    batch = trainer.loader.batch(0, trainer.loader.largest_step(0))

    def window() -> None:
        for update in micro_steps(trainer.parts, trainer.loader.num_steps):
            trainer.step(batch, 1, 0, update=update)

    window()
    account = account_of(trainer)
    account.label("batch", batch_tensors(batch))
    floor = account.peak_bytes
    with trainer.observed_by([account]), account:
        window()
    expected = floor + profiler_peak(window)
    assert account.peak_bytes == pytest.approx(expected, rel=1e-3)
    components = account.peak_components()
    assert sum(components.values()) == account.peak_bytes
    assert components["item_table"] == trainer.parts.model.item_table_VD.nbytes  # pyright: ignore
    # Every byte has a name: only the popularity of items, which no component claims, is left over.
    popularity_V = trainer.parts.log_popularity_V
    assert components["other"] <= (0 if popularity_V is None else popularity_V.nbytes)


class _Announced:
    """A two-layer model, its loss and a plain step, announced to an account."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.table = nn.Parameter(torch.randn(1000, 8, generator=generator))
        self.linear = nn.Linear(8, 8, bias=False)
        self.model = nn.Module()
        self.model.table, self.model.linear = self.table, self.linear
        self.optimizer = torch.optim.Adam(self.model.parameters(), fused=True)
        self.x = torch.randn(500, 8, generator=generator)

    def step(self, account: Account | None = None) -> None:
        def phase(name: Phase) -> Any:
            class Told:
                def __enter__(self) -> None:
                    account and account.on_phase_start(name)

                def __exit__(self, *args: object) -> None:
                    account and account.on_phase_end(name)

            return Told()

        with phase(Phase.FORWARD):
            hidden = self.linear(self.x)
        with phase(Phase.LOSS):
            loss = torch.logsumexp(hidden @ self.table.T, 1).mean()
        del hidden
        with phase(Phase.BACKWARD):
            loss.backward()
        with phase(Phase.OPTIMIZER):
            self.optimizer.step()
            self.optimizer.zero_grad()


def test_every_byte_is_named_by_where_it_came_from() -> None:
    run = _Announced()
    run.step()
    account = Account(run=lambda func, args, kwargs: (func(*args, **kwargs), 0))
    account.label_training(run.model, [run.table], run.optimizer)
    account.label("batch", [run.x])
    with account:
        run.step(account)
    parts = account.peak_components()
    assert parts["item_table"] == 4 * 1000 * 8
    assert parts["encoder_parameters"] == 4 * 8 * 8
    assert parts["batch"] == 4 * 500 * 8
    assert parts["activations"] == 4 * 500 * 8
    # Adam: two moments and a step count for each parameter.
    assert parts["optimizer_state"] == 2 * (parts["item_table"] + parts["encoder_parameters"]) + 8
    # Backward of logsumexp: logits, the difference, and its exponential or product, by 500 x 1000.
    assert parts["loss_workspace"] >= 3 * 4 * 500 * 1000
    assert parts["other"] == 0
    assert sum(parts.values()) == account.peak_bytes
    assert set(parts) == set(COMPONENTS)


def test_the_timeline_ends_where_it_began() -> None:
    run = _Announced()
    run.step()
    account = Account()
    account.label_training(run.model, [run.table], run.optimizer)
    account.label("batch", [run.x])
    floor = account.peak_bytes
    with account:
        run.step(account)
    events = account.timeline()
    live = peak = 0
    for event in events:
        live += event.bytes
        peak = max(peak, live)
    assert live == floor
    assert peak == account.peak_bytes
    assert [e.event for e in events] == sorted(e.event for e in events)
    gradients = [e for e in events if e.component == "item_table_gradient"]
    assert [e.bytes for e in gradients] == [4 * 1000 * 8, -4 * 1000 * 8]
    assert gradients[0].phase == Phase.BACKWARD
    assert gradients[1].phase == Phase.OPTIMIZER


class _Early(torch.autograd.Function):
    """Forms the gradient of the table in the forward pass."""

    @staticmethod
    def forward(ctx: Any, table: Tensor) -> Tensor:
        ctx.gradient = torch.ones_like(table)
        return table.sum()

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        gradient, ctx.gradient = ctx.gradient, None
        return gradient.mul_(scale)


def test_a_gradient_formed_in_the_forward_pass_is_a_gradient_from_the_start() -> None:
    run = _Announced()
    account = Account()
    account.label_training(run.model, [run.table], run.optimizer)
    with account:
        account.on_phase_start(Phase.LOSS)
        loss = _Early.apply(run.table)
        account.on_phase_end(Phase.LOSS)
        account.on_phase_start(Phase.BACKWARD)
        loss.backward()  # pyright: ignore
        account.on_phase_end(Phase.BACKWARD)
    formed = [e for e in account.timeline() if e.component == "item_table_gradient"]
    assert [(e.phase, e.bytes) for e in formed] == [(Phase.LOSS, run.table.nbytes)]


@pytest.mark.slow
def test_views_and_places_in_memory_that_are_used_again_count_right() -> None:
    account = Account()
    with account:
        first = torch.zeros(1000)
        view = first[10:20].view(2, 5)
        assert account.peak_bytes == 4000
        del first, view
        for _ in range(5):  # the allocator gives the same place to each
            torch.zeros(1000)
            gc.collect()
        assert account.peak_bytes == 4000
        grown = torch.zeros(10)
        grown.resize_(5000)
        grown.zero_()
    assert account.peak_bytes == 20040  # the old place is there while its bytes move


def test_a_sparse_gradient_counts_indices_and_values() -> None:
    embedding = nn.Embedding(10_000, 16, sparse=True)
    optimizer = torch.optim.SGD(embedding.parameters())
    account = Account()
    account.label_training(embedding, [embedding.weight], optimizer)
    ids = torch.arange(50)
    account.label("batch", [ids])
    with account:
        account.on_phase_start(Phase.FORWARD)
        total = embedding(ids).sum()
        account.on_phase_end(Phase.FORWARD)
        account.on_phase_start(Phase.BACKWARD)
        total.backward()
        account.on_phase_end(Phase.BACKWARD)
    live: dict[str, int] = {}
    for event in account.timeline():
        live[event.component] = live.get(event.component, 0) + event.bytes
    # Indices may be the batch's own storage, made (1, 50) by a view; the values are new.
    assert live["item_table_gradient"] in (4 * 50 * 16, 4 * 50 * 16 + 8 * 50)


@pytest.mark.slow
def test_what_dies_after_the_window_is_no_part_of_the_story() -> None:
    account = Account()
    with account:
        kept = torch.zeros(1000)
    before = account.timeline()
    del kept
    gc.collect()
    assert account.timeline() == before


def test_it_follows_one_kind_of_device() -> None:
    account = Account("cuda", predicted)
    with account:
        torch.zeros(1000)
    assert account.peak_bytes == 0


def test_what_autograd_does_in_place_unobserved_is_counted_so(profiler_peak: Profiler) -> None:
    """Gradients of lookups, and two gradients that meet: under a mode torch makes copies."""
    x = torch.randn(2000, 64, requires_grad=True)
    rows = torch.arange(2000)

    def step(account: Account | None = None) -> None:
        y = x * 2.0
        loss = (y.index_select(0, rows) * 3.0).sum() + (y * 5.0).sum() + (y * 7.0).sum()
        if account is not None:
            account.on_phase_start(Phase.BACKWARD)
        loss.backward()
        if account is not None:
            account.on_phase_end(Phase.BACKWARD)
        x.grad = None

    step()
    account = Account()
    account.label("item_table", [x, rows])
    floor = account.peak_bytes
    with account:
        step(account)
    assert account.peak_bytes == pytest.approx(floor + profiler_peak(step), abs=64)


def test_a_window_leaves_out_what_came_before_it() -> None:
    """The warm-up may hold more than the step that is measured."""
    account = Account()
    with account:
        kept = torch.zeros(100)
        torch.zeros(5000)
        assert account.peak_bytes == 4 * 5100
        account.start_window()
        assert account.peak_bytes == kept.nbytes
        torch.zeros(2000)
    assert account.peak_bytes == 4 * 2100
    assert sum(account.peak_components().values()) == 4 * 2100


def test_a_peak_of_the_size_of_an_earlier_one_is_looked_for_in_the_window() -> None:
    """Components are those at the window's peak, not at an equal one of the warm-up."""
    account = Account()
    with account:
        account.on_phase_start(Phase.FORWARD)
        torch.zeros(5000)
        account.on_phase_end(Phase.FORWARD)
        account.start_window()
        account.on_phase_start(Phase.LOSS)
        torch.zeros(5000)
        account.on_phase_end(Phase.LOSS)
    assert account.peak_components()["loss_workspace"] == 4 * 5000
    assert account.peak_components()["activations"] == 0
