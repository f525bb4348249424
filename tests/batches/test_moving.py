"""A batch travels to a GPU as one buffer: nothing of it may change on the way."""

import pytest
import torch

from scalelab.batches.moving import moved, packing
from scalelab.core.target import Target, predicted_target

TENSORS = [
    torch.arange(7, dtype=torch.int32),
    torch.tensor([True, False, True]),
    torch.arange(5, dtype=torch.int64) - 2,
    torch.empty((0, 4), dtype=torch.int32),
    torch.arange(6, dtype=torch.int32).view(2, 3),
    torch.tensor(2.5, dtype=torch.float64),
]


def layouts() -> list[tuple[torch.dtype, torch.Size]]:
    return [(tensor.dtype, tensor.shape) for tensor in TENSORS]


def test_what_is_packed_comes_out_again() -> None:
    plan = packing(layouts())
    buffer = torch.full((plan.num_bytes,), 255, dtype=torch.uint8)
    for place, tensor in zip(plan.views(buffer), TENSORS, strict=True):
        place.copy_(tensor)
    for place, tensor in zip(plan.views(buffer), TENSORS, strict=True):
        torch.testing.assert_close(place, tensor, rtol=0, atol=0)
        assert place.untyped_storage().data_ptr() == buffer.data_ptr()


def test_tensors_are_aligned_and_do_not_overlap() -> None:
    plan = packing(layouts())
    ends = [first + t.nbytes for (first, _, _), t in zip(plan.places, TENSORS, strict=True)]
    assert all(first % 16 == 0 for first, _, _ in plan.places)
    assert all(end <= first for end, (first, _, _) in zip(ends, plan.places[1:], strict=False))
    assert ends[-1] <= plan.num_bytes <= sum(t.nbytes + 15 for t in TENSORS)


def test_on_a_cpu_nothing_is_copied() -> None:
    there = moved(TENSORS, torch.device("cpu"))
    assert [t.data_ptr() for t in there] == [t.data_ptr() for t in TENSORS]


def test_a_prediction_for_a_gpu_has_one_storage_of_the_packed_size() -> None:
    token = predicted_target.set(Target("cuda"))
    try:
        there = moved(TENSORS, torch.device("cpu"))
    finally:
        predicted_target.reset(token)
    assert {t.untyped_storage().nbytes() for t in there} == {packing(layouts()).num_bytes}
    assert len({t.untyped_storage().data_ptr() for t in there}) == 1
    for tensor, copy in zip(TENSORS, there, strict=True):
        torch.testing.assert_close(copy, tensor, rtol=0, atol=0)


@pytest.mark.gpu
def test_a_gpu_gets_the_same_also_while_buffers_are_used_again() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU found")
    sent = [[t + n if t.dtype != torch.bool else t for t in TENSORS] for n in range(50)]
    there = [moved(tensors, torch.device("cuda")) for tensors in sent]
    for tensors, arrived in zip(sent, there, strict=True):
        assert len({t.untyped_storage().data_ptr() for t in arrived}) == 1
        for tensor, copy in zip(tensors, arrived, strict=True):
            torch.testing.assert_close(copy.cpu(), tensor, rtol=0, atol=0)
