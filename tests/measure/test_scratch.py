"""What an operation holds for itself, and what a product would hold."""

import gc
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC2701

from scalelab.measure.environment import computing_with
from scalelab.measure.scratch import observed, product_bytes
from scalelab.measure.workspaces import predicted, predicted_on_cuda

aten = torch.ops.aten


def test_a_sort_holds_a_second_array_of_indices_and_keeps_two() -> None:
    values = torch.rand(1000)
    result, held = observed(aten.sort.stable, (values,), {"stable": True})
    assert held == 8 * 1000
    assert torch.equal(result[0], values.sort().values)


def test_what_was_alive_before_does_not_count() -> None:
    first = torch.rand(500)
    _, held = observed(aten.add_.Tensor, (first, torch.rand(500)), {})
    assert held == 0
    _, held = observed(aten.add_.Tensor, (first, torch.rand(500, dtype=torch.float64)), {})
    assert held >= 4 * 500  # the other type is brought to this one first


def test_garbage_that_was_there_before_is_not_given_back_meanwhile() -> None:
    def work() -> torch.Tensor:
        gc.set_threshold(1)
        assert len([[number] for number in range(1000)]) == 1000  # each list may start a collection
        return torch.ones(10)

    threshold = gc.get_threshold()
    # The profiler knows the sizes of tensors that were made while it ran before.
    garbage: list[Any] = [observed(torch.ones, (10_000,), {})[0]]
    garbage.append(garbage)
    del garbage
    try:
        assert observed(work, (), {})[1] == 0
    finally:
        gc.set_threshold(*threshold)
    assert gc.isenabled()


def test_an_operation_that_fails_leaves_no_profiler_behind() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        observed(aten.mm.default, (torch.rand(2, 3), torch.rand(2, 3)), {})
    assert observed(aten.neg.default, (torch.rand(3),), {})[1] == 0


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", [(300, 64, 901), (7, 50, 64, 50)])
def test_a_product_is_predicted_as_it_is_observed(shape: tuple[int, ...], turned: bool) -> None:
    *batch, rows, inner, columns = shape
    first = torch.rand(*batch, inner, rows, dtype=torch.bfloat16).transpose(-1, -2)
    first = first if turned else first.contiguous()
    second = torch.rand(*batch, inner, columns, dtype=torch.bfloat16)
    func = aten.bmm.default if batch else aten.mm.default
    _, truth = observed(func, (first, second), {})
    state = torch.get_rng_state()
    assert product_bytes(first, second) == truth
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = mode.from_tensor(first), mode.from_tensor(second)
        _, held = predicted(func, fake, {})
        assert held == truth
        assert predicted_on_cuda(func, fake, {})[1] == 0
    assert torch.equal(torch.get_rng_state(), state)


def test_a_product_that_no_machine_could_hold_is_asked_for_with_a_smaller_one() -> None:
    with FakeTensorMode():
        first = torch.empty(2_000_000, 64, dtype=torch.bfloat16)
        second = torch.empty(64, 3_000_000, dtype=torch.bfloat16)
    assert product_bytes(first, second) < 1 << 30


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("length", [7, 50, 200, 800])
def test_attention_is_predicted_as_it_is_observed(length: int, dtype: torch.dtype) -> None:
    query = torch.zeros(2, 1, length, 16, dtype=dtype)
    func = aten._scaled_dot_product_flash_attention_for_cpu.default
    _, truth = observed(func, (query, query, query), {})
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = mode.from_tensor(query)
        assert predicted(func, (fake, fake, fake), {})[1] == truth


@pytest.mark.parametrize("is_dense", [True, False])
@pytest.mark.parametrize("length", [1, 7, 50, 200, 800])
def test_gradients_of_attention_are_predicted_as_they_are_observed(
    length: int, is_dense: bool
) -> None:
    query = torch.zeros(2, 3, length, 16)
    output, logsumexp = aten._scaled_dot_product_flash_attention_for_cpu(query, query, query)
    gradient = torch.zeros(2, length, 3, 16).transpose(1, 2) if is_dense else query
    func = aten._scaled_dot_product_flash_attention_for_cpu_backward.default
    tensors = (gradient, query, query, query, output, logsumexp)
    _, truth = observed(func, (*tensors, 0.0, False), {})
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = tuple(mode.from_tensor(tensor) for tensor in tensors)
        assert predicted(func, (*fake, 0.0, False), {})[1] == truth


NUMBERS = [
    (aten.mul.Tensor, torch.float32, 0.5, 12),
    (aten.mul_.Tensor, torch.float32, 0.5, 12),
    (aten.mul.Scalar, torch.bfloat16, 0.5, 10),
    (aten.add.Tensor, torch.int64, 7, 8),
    (aten.sub.Tensor, torch.int32, 7, 12),
    (aten.add_.Tensor, torch.uint8, 1, 9),
    (aten.div_.Scalar, torch.float64, 3.0, 8),
    (aten.div.Tensor, torch.float32, 3, 12),
    (aten.floor_divide.default, torch.int64, 3, 8),
    (aten.remainder.Scalar, torch.int64, 3, 8),
    (aten.rsub.Scalar, torch.float32, 1, 12),
    (aten.eq.Scalar, torch.float32, -float("inf"), 12),
    (aten.le.Scalar, torch.int16, 1, 10),
    (aten.gt.Scalar, torch.bool, True, 1),
]


@pytest.mark.parametrize(("func", "dtype", "number", "expected"), NUMBERS)
def test_a_number_of_python_is_a_tensor_for_a_moment(
    func: Any, dtype: torch.dtype, number: float, expected: int
) -> None:
    x = torch.ones(50, 3).to(dtype)
    _, truth = observed(func, (x, number), {})
    assert truth == expected
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = mode.from_tensor(x)
        assert predicted(func, (fake, number), {})[1] == expected
        assert predicted_on_cuda(func, (fake, number), {})[1] == 0


@pytest.mark.parametrize("threads", [1, 2])
def test_the_backward_pass_of_a_norm_has_two_rows_for_each_thread(threads: int) -> None:
    x, weight = torch.rand(2000, 48), torch.rand(48)
    _, mean, rstd = aten.native_layer_norm.default(x, [48], weight, weight, 1e-5)
    args = (x, x, [48], mean, rstd, weight, weight, [True, True, True])
    with computing_with(threads):
        _, truth = observed(aten.native_layer_norm_backward.default, args, {})
        _, held = predicted(aten.native_layer_norm_backward.default, args, {})
    assert held == truth
