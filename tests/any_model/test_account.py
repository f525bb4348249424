"""The memory of real steps, against what torch's profiler counts."""

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules import module as torch_module

import scalelab
from scalelab.any_model.module_account import KINDS
from scalelab.core.errors import SpecError

from .models import MODELS, OPTIMIZERS, VARIANTS, existing_bytes, mlp, step

Profiler = Callable[[Callable[[], object]], int]


def _update(model: nn.Module, inputs: Any, optimizer: torch.optim.Optimizer) -> None:
    step(model, inputs).backward()
    optimizer.step()
    optimizer.zero_grad()


def _measured(work: Callable[[], object], model: nn.Module, optimizer: Any) -> Any:
    work()  # the optimizer's state is made by the first step
    with scalelab.account(model, optimizer) as taken:
        work()
    return taken.memory


@pytest.mark.parametrize(("name", "optimizer_name"), VARIANTS)
def test_the_peak_is_the_profilers_own_count(
    name: str, optimizer_name: str, profiler_peak: Profiler
) -> None:
    model, inputs = MODELS[name]()
    optimizer = OPTIMIZERS[optimizer_name](model.parameters())

    def work() -> None:
        _update(model, inputs, optimizer)

    memory = _measured(work, model, optimizer)
    expected = existing_bytes(model, inputs, optimizer) + profiler_peak(work)
    assert memory.peak_bytes == pytest.approx(expected, rel=1e-3)
    assert sum(memory.components.values()) == memory.peak_bytes
    by_module = [sum(kinds.values()) for kinds in memory.modules.values()]
    assert sum(by_module) == memory.peak_bytes
    assert set(memory.components) <= set(KINDS)
    assert {"forward", "loss", "backward", "optimizer"} <= set(memory.phases)
    for phase in memory.phases.values():
        kinds = {kind: count for kind, count in phase.items() if kind != "total"}
        assert sum(kinds.values()) == phase["total"] <= memory.peak_bytes
    assert memory.exact


@pytest.mark.slow
def test_the_peak_of_bf16_accumulation_frozen_parts_and_no_optimizer(
    profiler_peak: Profiler,
) -> None:
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), 2, enable_nested_tensor=False
    )
    model = nn.ModuleDict({"frozen": encoder.eval(), "head": nn.Linear(64, 300)})
    inputs = torch.randn(16, 40, 64), torch.randint(0, 300, (16 * 40,))
    optimizer = torch.optim.SGD(model["head"].parameters(), 0.1)

    def forward() -> torch.Tensor:
        with torch.no_grad():
            hidden = model["frozen"](inputs[0])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return F.cross_entropy(model["head"](hidden).reshape(-1, 300), inputs[1])

    def accumulated() -> None:
        for _ in range(3):
            forward().backward()
        optimizer.step()
        optimizer.zero_grad()

    def without() -> None:
        forward().backward()
        model.zero_grad()

    for work, used in ((accumulated, optimizer), (without, None)):
        memory = _measured(work, model, used)
        expected = existing_bytes(model, inputs, used) + profiler_peak(work)
        assert memory.peak_bytes == pytest.approx(expected, rel=1e-3)


def test_every_byte_belongs_to_the_module_that_made_it() -> None:
    model = nn.Sequential(nn.Linear(8, 1000), nn.ReLU(), nn.Linear(1000, 4))
    inputs = torch.randn(500, 8)
    optimizer = torch.optim.Adam(model.parameters())

    def work() -> None:
        model(inputs).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    memory = _measured(work, model, optimizer)
    first = memory.modules["0"]
    assert first["parameters"] == 4 * (8 * 1000 + 1000)
    assert first["optimizer_state"] == 2 * first["parameters"] + 2 * 4
    assert memory.modules["2"]["parameters"] == 4 * (1000 * 4 + 4)
    assert memory.modules["1"]["activations"] == 4 * 500 * 1000
    # The gradient of what ReLU returned, made by the backward pass of the last layer.
    assert memory.modules["2"]["transient"] == 4 * 500 * 1000
    assert memory.components["inputs"] == inputs.nbytes
    assert memory.peak_phase == "backward"
    assert memory.phases["optimizer"]["gradients"] == 4 * (9 * 1000 + 1001 * 4)
    assert "activations" not in memory.phases["optimizer"]


def test_modules_are_counted_together_at_any_depth() -> None:
    model, inputs = MODELS["transformer"]()
    memory = _measured(lambda: step(model, inputs).backward(), model, None)
    shallow = memory.by_module(1)
    assert {"blocks", "table"} <= set(shallow)
    whole = sum(sum(kinds.values()) for kinds in shallow.values())
    assert whole == memory.peak_bytes


def test_what_was_there_before_the_step_is_counted_from_its_start() -> None:
    """Targets are used late; in the peak of the forward pass they are in memory all the same."""
    model = nn.Linear(10, 2000)
    inputs, targets = torch.randn(50, 10), torch.randn(50, 2000)
    with scalelab.account(model) as taken:
        (model(inputs) - targets).square().mean().backward()
    assert taken.memory.phases["forward"]["inputs"] == inputs.nbytes + targets.nbytes


def test_the_timeline_adds_up_to_the_peak() -> None:
    model, inputs = mlp()
    optimizer = torch.optim.Adam(model.parameters())
    memory = _measured(lambda: _update(model, inputs, optimizer), model, optimizer)
    live = peak = 0
    for event in memory.timeline:
        live += event.num_bytes
        peak = max(peak, live)
    assert peak == memory.peak_bytes
    # What is left is what was there before, and the tensor of no component.
    assert live == existing_bytes(model, inputs, optimizer)


def _trained(accounts: bool) -> tuple[list[torch.Tensor], torch.Tensor]:
    torch.manual_seed(3)
    model, inputs = MODELS["transformer"]()
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(2):
        if accounts:
            with scalelab.account(model, optimizer):
                _update(model, inputs, optimizer)
        else:
            _update(model, inputs, optimizer)
    return list(model.parameters()), torch.get_rng_state()


def test_training_goes_on_as_if_nobody_looked() -> None:
    (ours, state), (plain, plain_state) = _trained(True), _trained(False)
    assert all(torch.equal(*pair) for pair in zip(ours, plain, strict=True))
    assert torch.equal(state, plain_state)


def _hooks(optimizer: torch.optim.Optimizer) -> int:
    return (
        len(torch_module._global_forward_hooks)
        + len(torch_module._global_forward_pre_hooks)
        + len(optimizer._optimizer_step_pre_hooks)
        + len(optimizer._optimizer_step_post_hooks)
    )


class _Trouble(Exception):
    pass


@pytest.mark.parametrize(
    "where",
    ["module", *(pytest.param(each, marks=pytest.mark.slow) for each in ("backward", "outside"))],
)
def test_an_exception_leaves_nothing_behind_and_what_was_counted(where: str) -> None:
    model, inputs = mlp()
    optimizer = torch.optim.Adam(model.parameters())

    def trouble(*_: Any) -> None:
        raise _Trouble

    before = _hooks(optimizer)
    handle = model[3].register_forward_pre_hook(trouble) if where == "module" else None
    taken = scalelab.account(model, optimizer)

    def fails() -> None:
        with taken:
            loss = step(model, inputs)
            if where == "backward":
                loss.grad_fn.register_prehook(trouble)  # pyright: ignore
                loss.backward()
            raise _Trouble

    with pytest.raises(_Trouble):
        fails()
    if handle is not None:
        handle.remove()
    assert _hooks(optimizer) == before
    assert taken.memory.peak_bytes > existing_bytes(model, inputs, None)
    assert not torch.overrides._get_current_function_mode_stack()
    again = _measured(lambda: _update(model, inputs, optimizer), model, optimizer)
    assert again.peak_bytes > 0
    assert again.phases["optimizer"]["total"] > 0


@pytest.mark.slow
def test_a_second_account_is_refused_with_a_line_and_the_first_goes_on() -> None:
    model, inputs = mlp()
    with scalelab.account(model) as outer:
        with pytest.raises(SpecError, match="active already"), scalelab.account(model):
            pass
        step(model, inputs).backward()
        with pytest.raises(SpecError, match="not over"):
            _ = outer.memory
    assert outer.memory.phases["backward"]["total"] > 0
    with scalelab.account(model) as later:
        step(model, inputs)
    assert later.memory.peak_bytes > 0


def test_a_profiler_is_refused_before_anything_is_hooked() -> None:
    model, _ = mlp()
    with torch.profiler.profile(acc_events=True), pytest.raises(SpecError, match="profiler"):
        scalelab.account(model).__enter__()
    with scalelab.account(model):
        pass


@pytest.mark.parametrize(
    ("model", "optimizer", "message"),
    [
        ("resnet", None, "type str"),
        (nn.Linear(2, 2), "adam", "optimizer is of type str"),
        (nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2, device="meta")]), None, "cpu and meta"),
    ],
)
def test_what_is_no_model_and_no_optimizer_is_refused(
    model: Any, optimizer: Any, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        scalelab.account(model, optimizer)


@pytest.mark.slow
def test_a_compiled_model_or_part_is_refused() -> None:
    with pytest.raises(SpecError, match="compiled"):
        scalelab.account(torch.compile(nn.Linear(2, 2), backend="eager"))  # pyright: ignore
    model = nn.Sequential(nn.Linear(2, 2))
    model[0].compile(backend="eager")
    with pytest.raises(SpecError, match="compiled"):
        scalelab.account(model)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of its own doings
def test_compiled_code_inside_a_step_is_marked() -> None:
    if shutil.which("g++") is None:
        pytest.skip("torch.compile wants a C++ compiler on a CPU")
    model, inputs = mlp()
    loss = torch.compile(F.mse_loss)
    step(model, inputs).backward()
    with scalelab.account(model) as taken:
        loss(model(inputs[0]), torch.zeros(400, 100)).backward()
    assert not taken.memory.exact
    assert "torch.compile" in taken.memory.reasons[0]
    with scalelab.account(model) as taken:
        step(model, inputs).backward()
    assert taken.memory.exact


def test_tables_say_the_same_in_text_and_html() -> None:
    model = nn.Module()
    model.add_module("<b>", nn.Linear(300, 300))
    inputs = torch.randn(10, 300)
    with scalelab.account(model) as taken:
        assert "not over" in str(taken)
        model.get_submodule("<b>")(inputs).sum().backward()
    text, page = str(taken), taken._repr_html_()
    for word in ("parameters", "gradients", "peak of backward", "<b>", "353 KiB", "total"):
        assert word in text
    assert "&lt;b&gt;" in page
    assert "353 KiB" in page
    assert text.isascii()
