"""Which operations' memory on CUDA is known, and what is said of the others."""

import pytest
import torch

from scalelab.any_model.cuda_known import unknown_on_cuda

aten = torch.ops.aten
ONE = (torch.ones(2),)


@pytest.mark.parametrize(
    "func",
    [
        aten.mm.default,  # of cuBLAS
        aten.add.Tensor,  # of single numbers
        aten.view.default,  # no memory of its own
        aten.sum.dim_IntList,  # by a rule
        aten._foreach_add_.Scalar,  # of an optimizer
    ],
    ids=str,
)
def test_what_is_known_has_no_reason(func):
    assert unknown_on_cuda(func, ONE, {}) is None


@pytest.mark.parametrize(
    ("func", "reason"),
    [
        (aten.convolution.default, "cuDNN chooses the algorithm"),
        (aten.native_batch_norm.default, "cuDNN may normalize"),
        (aten.linalg_svd.default, "what linalg_svd holds for itself on CUDA is not known"),
    ],
    ids=str,
)
def test_what_a_library_or_a_kernel_holds_for_itself_is_said(func, reason):
    assert reason in unknown_on_cuda(func, ONE, {})


def test_what_only_makes_a_tensor_is_known_and_what_takes_one_in_a_list_is_not():
    assert unknown_on_cuda(aten.eye.default, (3,), {}) is None
    assert unknown_on_cuda(aten.block_diag.default, ([torch.ones(2)],), {}) is not None


def test_an_operation_of_another_package_is_not_known_by_its_name():
    with torch.library._scoped_library("somebody", "DEF") as library:
        library.define("rotate(Tensor x) -> Tensor")
        func = torch.ops.somebody.rotate.default
        assert "somebody.rotate.default holds for itself" in unknown_on_cuda(func, ONE, {})
