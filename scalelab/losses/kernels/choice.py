"""Decide whether a loss runs by the fused kernels or by tiles of scores, and remember which ran."""

import logging
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes  # noqa: PLC2701

from scalelab.core.errors import PredictionUnsupported, SpecError
from scalelab.losses import Target, target_of
from scalelab.losses._options import Kernel
from scalelab.losses._tiles import add_rows, compute_dtype_of
from scalelab.losses.kernels.fused import fused_loss
from scalelab.losses.kernels.scan import Problem, Shared, fused_bytes, product_precision
from scalelab.losses.kernels.streamed import FusedStream
from scalelab.losses.streaming.table_gradient import streamed_loss

__all__ = ["fused_bytes_of", "kernels_used", "note_tiled", "refusal_of", "runs_fused"]

# "fused" or "tiled" by the name of the loss, as it ran last in this process.
kernels_used: dict[str, str] = {}

_LOG = logging.getLogger(__name__)
_WIDEST = 256
# Relative error of gradients that rounding of the inputs explains, several times over.
_TOLERANCE = {"bf16x6": 1e-5, "tf32": 5e-3, "ieee": 3e-2}


def runs_fused(
    name: str,
    kernel: Kernel,
    hidden_ND: Tensor,
    item_table_VD: Tensor,
    *,
    compute_dtype: torch.dtype,
    shared: bool = False,
    streamed: bool = False,
) -> bool:
    """Whether the loss called `name` runs by the kernels, which is remembered; `shared` for shared
    negatives, `streamed` where the table's gradient is made by tiles.

    Under "auto" a GPU's kernels are compared with plain float64 once for each type and width; where
    they are wrong or do not compile, a warning says so and tiles run. Raises SpecError where
    "fused" is wanted and cannot run.
    """
    fused = _decided(
        name,
        kernel,
        hidden_ND,
        item_table_VD,
        compute_dtype=compute_dtype,
        shared=shared,
        streamed=streamed,
    )
    _note(name, hidden_ND, "fused" if fused else "tiled")
    return fused


def note_tiled(name: str, hidden_ND: Tensor) -> None:
    """Remember that the loss called `name` runs by tiles, where it has no kernel to decide on."""
    _note(name, hidden_ND, "tiled")


def _note(name: str, hidden_ND: Tensor, way: str) -> None:
    if not isinstance(hidden_ND, torch._subclasses.FakeTensor):
        kernels_used[name] = way


def _decided(
    name: str,
    kernel: Kernel,
    hidden_ND: Tensor,
    item_table_VD: Tensor,
    *,
    compute_dtype: torch.dtype,
    shared: bool,
    streamed: bool = False,
) -> bool:
    # An estimate gives the table for the hidden states, and rows that are made are no tensor.
    real = isinstance(hidden_ND, Tensor)
    real = real and not isinstance(hidden_ND, torch._subclasses.FakeTensor)
    fused = kernel != "tiled"
    if fused:
        reason = _unsupported(target_of(hidden_ND), item_table_VD, compute_dtype)
        if reason is not None and kernel == "fused":
            raise refusal_of(hidden_ND)(
                f"{name} cannot run its fused kernel: {reason}", 'write "auto" or "tiled"'
            )
        fused = reason is None
    if fused and kernel == "auto" and real:
        case = _Case(
            index=hidden_ND.device.index or 0,
            compute_dtype=compute_dtype,
            precision=product_precision(compute_dtype),
            depth=hidden_ND.shape[1],
            shared=shared,
            streamed=streamed,
        )
        fused = _is_right(case)
    return fused


def fused_bytes_of(
    name: str,
    kernel: Kernel,
    item_table_VD: Tensor,
    *,
    num_positions: int,
    num_rows: int | None = None,
    shared: bool = False,
) -> int | None:
    """About what the kernels take for so many rows of the softmax, None for all items; None where
    tiles run.

    Nothing runs, and nothing is remembered.
    """
    compute_dtype = compute_dtype_of(item_table_VD)
    if not _decided(
        name, kernel, item_table_VD, item_table_VD, compute_dtype=compute_dtype, shared=shared
    ):
        return None
    return fused_bytes(num_positions, num_rows, item_table_VD, compute_dtype)


def refusal_of(hidden_ND: Tensor) -> type[SpecError]:
    """What to raise for a kernel that cannot run: a plan has a row with it, a run ends with it."""
    fake = isinstance(hidden_ND, torch._subclasses.FakeTensor)
    return PredictionUnsupported if fake else SpecError


def _unsupported(target: Target, item_table_VD: Any, compute_dtype: torch.dtype) -> str | None:
    """Why the kernels cannot run, None where they can."""
    if target.kind != "cuda":
        return f"it needs a CUDA GPU, this is the {target.kind.upper()}"
    if target.capability < (8, 0):
        version = ".".join(map(str, target.capability))
        return f"it needs compute capability 8.0 or newer, this GPU has {version}"
    if not target.triton:
        return "the package triton is not installed"
    if compute_dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return f"it has no kernel for {compute_dtype}"
    if item_table_VD.shape[1] > _WIDEST:
        return f"it takes rows of up to {_WIDEST} numbers, these have {item_table_VD.shape[1]}"
    if isinstance(item_table_VD, Tensor) and not item_table_VD.is_contiguous():
        return "the item table is not contiguous"
    return None


class _Case(NamedTuple):
    """What the kernels are compared for, once each: a GPU, types, a width, a kind of negatives, a
    kind of update.
    """

    index: int
    compute_dtype: torch.dtype
    precision: str
    depth: int
    shared: bool
    streamed: bool


@cache
def _is_right(case: _Case) -> bool:
    with _disable_current_modes(), torch.random.fork_rng([case.index]):
        try:
            # Twice: the second time the kernels are launched as in every later step.
            error = max(_error(case) for _ in range(2))
        except torch.OutOfMemoryError:  # that says nothing of the kernels
            raise
        except Exception as error:  # Triton fails in many ways on a GPU that it does not know
            _LOG.warning("fused kernels are not used: %s: %s", type(error).__name__, error)
            return False
    if not error <= _TOLERANCE[case.precision]:
        _LOG.warning("fused kernels are not used: their relative error is %.1e", error)
        return False
    return True


def _dense(hidden_ND: Tensor, table_VD: Tensor, problem: Problem) -> tuple[Tensor, ...]:
    loss = fused_loss(hidden_ND, table_VD, problem)
    return loss, *torch.autograd.grad(loss, (hidden_ND, table_VD))


def _streamed(hidden_ND: Tensor, table_VD: Tensor, problem: Problem) -> tuple[Tensor, ...]:
    """As `_dense`; the gradient of the table is made in two tiles."""
    gradient = FusedStream(table_VD, problem)
    loss = streamed_loss(gradient.loss, hidden_ND, gradient, positions=len(hidden_ND))
    (grad_ND,) = torch.autograd.grad(loss, hidden_ND)
    grad_VD = torch.zeros_like(table_VD)
    for rows in gradient.single_rows():
        add_rows(grad_VD, rows.ids_M, rows.rows_MD)
    middle = len(table_VD) // 2
    for first, last in ((0, middle), (middle, len(table_VD))):
        if gradient.touches_all:
            gradient.add_tile(grad_VD[first:last], first, last)
    return loss, grad_ND, grad_VD


@torch.enable_grad()
def _error(case: _Case) -> float:
    """Largest relative error of the loss and both gradients on a small problem."""
    device, depth, shared = torch.device("cuda", case.index), case.depth, case.shared
    torch.manual_seed(0)
    num_positions, num_rows, num_negatives = 150, 700, 300
    hidden_ND = torch.randn(num_positions, depth, device=device, requires_grad=True)
    table_VD = (torch.randn(num_rows, depth, device=device) / depth**0.5).requires_grad_()
    targets_N = torch.randint(1, num_rows, (num_positions,), device=device)
    ids_K = torch.randint(1, num_rows, (num_negatives,), device=device, dtype=torch.int32)
    bias_K = torch.randn(num_negatives, device=device)
    bias_N = torch.randn(num_positions, device=device)
    negatives = Shared(ids_K, bias_K, bias_N, skip_target=True) if shared else None
    with torch.autocast("cuda", enabled=False):
        problem = Problem(targets_N, case.compute_dtype, 0, negatives)
        found = (_streamed if case.streamed else _dense)(hidden_ND, table_VD, problem)
        hidden, table = (x.detach().double().requires_grad_() for x in (hidden_ND, table_VD))
        score_NV = hidden @ table.T
        if shared:
            score_NK = score_NV[:, ids_K.long()] + bias_K
            score_NK = score_NK.masked_fill(ids_K == targets_N[:, None], -torch.inf)
            target_N1 = score_NV.gather(1, targets_N[:, None]) + bias_N[:, None]
            loss_N = torch.cat([target_N1, score_NK], 1).logsumexp(1) - target_N1[:, 0]
        else:
            among_NV = score_NV.index_fill(1, targets_N.new_zeros(1), -torch.inf)
            loss_N = among_NV.logsumexp(1) - score_NV.gather(1, targets_N[:, None])[:, 0]
        expected = (loss_N.mean(), *torch.autograd.grad(loss_N.mean(), (hidden, table)))
    return max(
        float((got.detach().double() - wanted.detach()).norm() / wanted.detach().norm())
        for got, wanted in zip(found, expected, strict=True)
    )
