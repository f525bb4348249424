"""Run the kernels in Triton's interpreter and print their errors against float64, one line a case.

Started by `test_fused.py` in a process of its own: Triton decides at import whether to interpret.
"""

import json
from dataclasses import replace
from functools import partial

import torch

from scalelab.losses import LossBatch, Negatives, Target, predicted_target
from scalelab.losses.cross_entropy import CrossEntropy
from scalelab.losses.kernels import choice, fused, scan
from scalelab.losses.sampled_softmax import SampledSoftmax
from scalelab.models.tables import ComposedRows

H100 = Target("cuda", 80 * 2**30, (9, 0), triton=True)
# Positions, rows, width, type, spread of the table: multiples of nothing, and the smallest of all.
SHAPES = [
    (70, 301, 16, "float32", 1.0),
    (130, 1000, 64, "float32", 0.3),
    (33, 129, 52, "float32", 0.6),
    (257, 601, 24, "float32", 0.02),
    (65, 300, 200, "float32", 0.2),
    (1, 2, 8, "float32", 1.0),
    (100, 700, 128, "float16", 0.2),
    (40, 60, 16, "float16", 0.5),
]
LOSSES = {
    "cross_entropy": (CrossEntropy, {}),
    "cross_entropy with padding": (CrossEntropy, {"include_padding": True}),
    "sampled_softmax": (SampledSoftmax, {}),
    "sampled_softmax with logQ": (SampledSoftmax, {"logq": 0.7}),
    "sampled_softmax that keeps hits": (
        SampledSoftmax,
        {"remove_accidental_hits": False, "logq": 0.3},
    ),
    "cross_entropy streamed": (CrossEntropy, {}),
    "cross_entropy with padding streamed": (CrossEntropy, {"include_padding": True}),
    "sampled_softmax with logQ streamed": (SampledSoftmax, {"logq": 0.7}),
    "cross_entropy over made rows": (CrossEntropy, {}),
    "cross_entropy with padding over made rows": (CrossEntropy, {"include_padding": True}),
    "sampled_softmax over made rows": (SampledSoftmax, {"logq": 0.7}),
}
# Rows of a tile, of the table's gradient and of rows that are made: a multiple of nothing.
TILE = 37


def main() -> None:
    # The interpreter cannot do bfloat16, which is how a GPU multiplies float32.
    fused.product_precision = lambda inner: "ieee"
    scan.product_precision = lambda inner: "ieee"
    choice.product_precision = lambda inner: "ieee"
    choice._is_right = lambda *_: True
    # On a GPU a tile of rows that are made has millions of numbers.
    scan.tile_numbers = lambda rows, *_: TILE * rows.shape[1]
    draw = torch.Generator().manual_seed(0)
    for shape in SHAPES:
        problem = _problem(*shape, draw)
        for name, (part, options) in LOSSES.items():
            hidden_ND, table_VD, batch = problem
            gradients = _streamed if name.endswith("streamed") else _gradients
            if name.endswith("made rows"):
                rows = _made_rows(table_VD, draw)
                table_VD, gradients = rows[:], partial(_streamed, rows=rows)
            found = _compared(part, options, gradients, hidden_ND, table_VD, batch)
            print(json.dumps({"case": f"{name} {shape}", **found}))


def _problem(positions, rows, width, dtype, spread, draw):
    kind = getattr(torch, dtype)
    hidden_ND = torch.randn(positions, width, generator=draw).to(kind)
    table_VD = (torch.randn(rows, width, generator=draw) * spread).to(kind)
    table_VD[0] = 0

    def ids(count, first):
        return torch.randint(first, rows, (count,), generator=draw, dtype=torch.int32)

    targets_N = ids(positions, 1).long()
    targets_N[: positions // 4] = targets_N[0]  # repeated targets
    batch = LossBatch(
        targets_N=targets_N,
        num_items=rows - 1,
        # Among them empty places and, by their number, targets.
        negatives=(Negatives("batch", ids(41, 0), 1.0), Negatives("batch", ids(90, 0), 0.5)),
        log_popularity_V=torch.randn(rows, generator=draw),
    )
    return hidden_ND, table_VD, batch


def _compared(part, options, gradients, hidden_ND, table_VD, batch):
    first = gradients(part(kernel="fused", **options), hidden_ND, table_VD, batch)
    again = gradients(part(kernel="fused", **options), hidden_ND, table_VD, batch)
    wide = replace(batch, log_popularity_V=batch.log_popularity_V.double())
    exact = _gradients(
        part(kernel="tiled", **options), hidden_ND.double(), table_VD.double(), wide, None
    )
    return {
        "loss": abs(float(first[0] - exact[0])),
        "hidden": _relative(first[1], exact[1], table_VD),
        "table": _relative(first[2], exact[2], hidden_ND),
        "padding": 0.0 if options.get("include_padding") else float(first[2][0].abs().max()),
        "same": all(torch.equal(a, b) for a, b in zip(first, again, strict=True)),
    }


def _gradients(loss, hidden_ND, table_VD, batch, target=H100):
    hidden_ND, table_VD = (x.clone().requires_grad_() for x in (hidden_ND, table_VD))
    before = predicted_target.set(target)
    value = loss(hidden_ND, table_VD, batch)
    # A loss is scaled on its way back, by accumulation for one.
    (3 * value).backward()
    predicted_target.reset(before)
    return value.detach(), hidden_ND.grad, table_VD.grad


def _made_rows(like_VD, draw):
    """Rows made from codewords, in the place of a table of that shape and spread."""
    (num_rows, depth), parts = like_VD.shape, 4
    codes_VM = torch.randint(0, 5, (num_rows, parts), generator=draw, dtype=torch.int32)
    codewords_CP = torch.randn(5 * parts, depth // parts, generator=draw) * like_VD.std()
    return ComposedRows(codes_VM, codewords_CP.to(like_VD.dtype))


def _streamed(loss, hidden_ND, table_VD, batch, rows=None):
    """As `_gradients`; two batches add their gradients of the table to the same tiles. `rows` make
    the table when they are needed.
    """
    hidden_ND = hidden_ND.clone().requires_grad_()
    before = predicted_target.set(H100)
    made = []
    for scale in (1, 2):
        value, gradient = loss.streamed(hidden_ND, table_VD if rows is None else rows, batch)
        (scale * value).backward()
        made.append(gradient)
    whole_VD = torch.zeros(table_VD.shape)
    for gradient in made:
        for ids_M, rows_MD in gradient.single_rows():
            whole_VD.index_add_(0, ids_M.long(), rows_MD.float())
        for first in range(0, len(table_VD), TILE) if gradient.touches_all else ():
            last = min(first + TILE, len(table_VD))
            gradient.add_tile(whole_VD[first:last], first, last)
    predicted_target.reset(before)
    return value.detach(), hidden_ND.grad, whole_VD


def _relative(found, exact, other) -> float:
    size = exact.norm()
    # With a single item the gradients are 0: what is left is rounding of the terms that cancel.
    return float((found.double() - exact).norm() / (size if size > 1e-6 else 3 * other.norm()))


main()
