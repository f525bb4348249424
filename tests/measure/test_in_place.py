"""Gradients that meet: the account counts them as a step without an account allocates them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC2701

from scalelab.measure.components import Account
from scalelab.measure.workspaces import predicted

Profiler = Callable[[Callable[[], object]], int]
ROWS, WIDTH = 2000, 64


class _AddsInPython(torch.autograd.Function):
    """A backward formula in Python that adds two buffers of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sum()

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return scale.repeat(ROWS, WIDTH) + scale.repeat(ROWS, WIDTH)


class _Ones(torch.autograd.Function):
    """A sum that keeps nothing and whose gradient is a buffer of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sum()

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return scale.repeat(ROWS, WIDTH)


class _OfAnotherSize(torch.autograd.Function):
    """A gradient in every second column of its storage, which is not a view of anything."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sum()

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        wide = scale.repeat(ROWS, 2 * WIDTH)
        return torch.empty(0).set_(wide.untyped_storage(), 0, (ROWS, WIDTH), (2 * WIDTH, 2))


def _twice(y: Tensor) -> Tensor:
    return (y * 5.0).sum() + (y * 7.0).sum()


def _thrice(y: Tensor) -> Tensor:
    return _twice(y) + (y * 9.0).sum()


def _expanded_first(y: Tensor) -> Tensor:
    return (y * 7.0).sum() + y.sum()


def _expanded_second(y: Tensor) -> Tensor:
    return y.sum() + (y * 7.0).sum()


def _residual(y: Tensor) -> Tensor:
    return ((y + torch.tanh(y)) ** 2).sum()


def _same_twice(y: Tensor) -> Tensor:
    return _Ones.apply(y + y)  # pyright: ignore[reportReturnType]


def _square(y: Tensor) -> Tensor:
    return (y * y).sum()


def _transposed_first(y: Tensor) -> Tensor:
    return (y.t() * 3.0).sum() + (y * 5.0).sum()


def _transposed_second(y: Tensor) -> Tensor:
    return (y * 5.0).sum() + (y.t() * 3.0).sum()


def _slices(y: Tensor) -> Tensor:
    return (y[:1000] * 3.0).sum() + (y[1000:] * 5.0).sum()


def _chunks(y: Tensor) -> Tensor:
    left, right = y.chunk(2, 1)
    return (left * right).sum() + (y * 3.0).sum()


def _lookups(y: Tensor) -> Tensor:
    rows = torch.arange(ROWS)
    return (y.index_select(0, rows) * 3.0).sum() + _twice(y)


def _indexed(y: Tensor) -> Tensor:
    return (y[torch.arange(500)] ** 2).sum() + (y * 3.0).sum()


def _two_terms_of_one_formula(y: Tensor) -> Tensor:
    """`var_mean` adds the gradients of its two results within one backward formula."""
    variance, mean = torch.var_mean(y)
    return variance + mean


def _in_python(y: Tensor) -> Tensor:
    return _AddsInPython.apply(y)  # pyright: ignore[reportReturnType]


def _of_another_size(y: Tensor) -> Tensor:
    return (y * 7.0).sum() + _OfAnotherSize.apply(y)  # pyright: ignore[reportOperatorIssue]


LOSSES = [
    _twice,
    _thrice,
    _expanded_first,
    _expanded_second,
    _residual,
    _same_twice,
    _square,
    _transposed_first,
    _transposed_second,
    _slices,
    _chunks,
    _lookups,
    _indexed,
    _two_terms_of_one_formula,
    _in_python,
    _of_another_size,
]


@pytest.mark.parametrize("of_leaf", [False, True], ids=["of-a-result", "of-a-leaf"])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__.strip("_"))
def test_gradients_that_meet_are_counted_as_torch_adds_them(
    loss: Callable[[Tensor], Tensor], of_leaf: bool, profiler_peak: Profiler
) -> None:
    x = torch.randn(ROWS, WIDTH, requires_grad=True)

    def step() -> None:
        loss(x if of_leaf else x * 2.0).backward()
        x.grad = None

    step()
    account = Account()
    account.label("item_table", [x])
    with account:
        step()
    # Scalars that are wrapped into tensors are left out: some bytes each.
    assert account.peak_bytes - x.nbytes == pytest.approx(profiler_peak(step), abs=64)


def test_a_graph_of_gradients_is_never_added_up_in_place(profiler_peak: Profiler) -> None:
    x = torch.randn(ROWS, WIDTH, requires_grad=True)

    def step() -> None:
        torch.autograd.grad(_twice(x * 2.0), x, create_graph=True)

    account = Account()
    account.label("item_table", [x])
    with account:
        step()
    assert account.peak_bytes - x.nbytes == pytest.approx(profiler_peak(step), abs=64)


def test_a_hook_that_adds_out_of_place_really_does(profiler_peak: Profiler) -> None:
    x = torch.randn(ROWS, WIDTH, requires_grad=True)

    def step() -> None:
        y = x * 2.0
        y.register_hook(lambda gradient: gradient.clone() + gradient)
        (y * 3.0).sum().backward()
        x.grad = None

    step()
    account = Account()
    account.label("item_table", [x])
    with account:
        step()
    assert account.peak_bytes - x.nbytes == pytest.approx(profiler_peak(step), abs=64)


MODULES = {
    "gru": lambda: nn.GRU(32, 48, 2, batch_first=True),
    "lstm": lambda: nn.LSTM(32, 48, batch_first=True),
    "transformer": lambda: nn.TransformerEncoderLayer(32, 2, 64, dropout=0.1, batch_first=True),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_counted_as_torch_runs_it(name: str, profiler_peak: Profiler) -> None:
    """The weight gradients of a GRU are views, which autograd adds up out of place."""
    module, x = MODULES[name](), torch.randn(8, 20, 32)
    parameters = list(module.parameters())

    def step() -> None:
        result = module(x)
        (result[0] if isinstance(result, tuple) else result).sum().backward()
        module.zero_grad()

    step()
    account = Account()
    account.label("encoder_parameters", parameters)
    account.label("batch", [x])
    floor = account.peak_bytes
    with account:
        step()
    assert account.peak_bytes - floor == pytest.approx(profiler_peak(step), rel=1e-3)


@pytest.mark.parametrize("loss", [_twice, _square, _transposed_second, _lookups, _residual])
def test_a_prediction_counts_them_alike(loss: Callable[[Tensor], Tensor]) -> None:
    def peak(account: Account) -> int:
        x = torch.empty(ROWS, WIDTH, requires_grad=True)
        with account:
            loss(x * 2.0).backward()
        return account.peak_bytes

    measured = peak(Account())
    with FakeTensorMode():
        assert peak(Account("meta", predicted)) == measured


def _linear(linear: nn.Linear, x: Tensor) -> Tensor:
    return linear(x)


def _by_hand(linear: nn.Linear, x: Tensor) -> Tensor:
    return x @ linear.weight.t() + linear.bias


def _through_one_wrapper(linear: nn.Linear, x: Tensor) -> Tensor:
    def call(func: Callable[..., Tensor], *args: Tensor) -> Tensor:
        return func(*args)

    product = call(torch.matmul, x, linear.weight.t())
    return call(torch.add, product, linear.bias)


def _attention(linear: nn.Linear, x: Tensor) -> Tensor:
    """Scores that are larger than all else; with dropout torch takes its plain formula."""
    mask = torch.zeros(x.size(1), x.size(1))
    return nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=mask, dropout_p=0.1)


@pytest.mark.parametrize("forward", [_linear, _by_hand, _through_one_wrapper, _attention])
@pytest.mark.parametrize("strided", [False, True], ids=["dense", "strided"])
def test_what_is_added_to_a_product_is_counted_as_torch_adds_it(
    forward: Callable[[nn.Linear, Tensor], Tensor], strided: bool, profiler_peak: Profiler
) -> None:
    """`linear` with a strided input adds its bias in place; GRU4Rec's evaluation calls it so."""
    linear, x = nn.Linear(64, 256), torch.randn(40, 50, 64)
    x = x.transpose(0, 1) if strided else x
    account = Account()
    account.label("other", [x, *linear.parameters()])
    floor = account.peak_bytes
    with account, torch.no_grad():
        forward(linear, x)
    with torch.no_grad():
        expected = profiler_peak(lambda: forward(linear, x))
    assert account.peak_bytes - floor == pytest.approx(expected, abs=64)
