"""Compute a softmax over rows of an item table in Triton without keeping its scores.

Cross-entropy over the catalog is attention of the hidden states over the item table: the log of the
sum of exponentials gives the loss, the weighted sum of rows gives the gradient of the hidden states
(FlashAttention, Dao et al., 2022; "cut your losses", Wijmans et al., 2024, has the same aim with
locks and a filter). `forward` splits the table over programs, `combine` adds the splits up, `table`
finishes every row of the table's gradient in one program: nothing is zeroed, added atomically or
scattered, so that two runs give the same bits.

Shape legend as in `scalelab.losses`; BN and BV are the positions and rows of one tile.
"""

# Triton compiles these functions from their source: their types are not Python's.
# pyright: basic, reportAssignmentType=false, reportOperatorIssue=false

import triton
import triton.language as tl

from scalelab.losses.kernels.products import parts_of, six_products, wide

__all__ = ["combine", "forward", "table"]

_LOG2E = tl.constexpr(1.4426950408889634)
# Integers that change from step to step: compiling again for each of their divisors would be slow,
# and another code could give other bits.
_VARYING = ["N", "V", "per_split", "pad_id", "splits"]


@triton.jit
def _exp(score, log, ROUGH: tl.constexpr):
    """exp(score - log). ROUGH: in one multiply-add, which rounds `log`; for 16-bit inputs."""
    if ROUGH:
        return tl.exp2(score * _LOG2E - log * _LOG2E)
    return tl.exp(score - log)


@triton.jit
def _rows(base, start, count, depth: tl.constexpr, BLOCK: tl.constexpr, WIDTH: tl.constexpr):
    """Load `BLOCK` rows of `depth` numbers from row `start` on; what lies beyond `count` is 0."""
    row = tl.arange(0, BLOCK)
    column = tl.arange(0, WIDTH)
    place = base + wide(start) * depth + row[:, None] * depth + column[None, :]
    inside = (start + row < count)[:, None]
    if WIDTH != depth:
        inside = inside & (column < depth)[None, :]
    return tl.load(place, mask=inside, other=0.0)


@triton.jit(do_not_specialize=_VARYING)
def forward(
    hidden,
    rows,
    bias,
    ids,
    targets,
    top,
    total,
    sums,
    pad_id,
    N,
    V,
    per_split,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    BN: tl.constexpr,
    BV: tl.constexpr,
    PRECISION: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    SKIP_TARGET: tl.constexpr,
    GRADIENT: tl.constexpr,
):
    """Write for BN positions and one split of the rows the largest score, the sum of exponentials
    relative to it, and the sum of rows weighted by them."""
    SIX: tl.constexpr = PRECISION == "bf16x6"
    ROUGH: tl.constexpr = hidden.dtype.element_ty != tl.float32 and not SIX
    block, split = tl.program_id(0), tl.program_id(1)
    position = block * BN + tl.arange(0, BN)
    first = split * per_split
    count = tl.minimum(per_split, V - first)
    hidden_ND = _rows(hidden, block * BN, N, D, BN, WIDTH)
    if SIX:
        second_ND = _rows(hidden + wide(N) * D, block * BN, N, D, BN, WIDTH)
        third_ND = _rows(hidden + wide(N) * 2 * D, block * BN, N, D, BN, WIDTH)
    base = rows + wide(first) * D
    pad_here = pad_id - first
    top_N = tl.full((BN,), -float("inf"), tl.float32)
    total_N = tl.zeros((BN,), tl.float32)
    sum_ND = tl.zeros((BN, WIDTH), tl.float32)
    if SKIP_TARGET:
        target_N = tl.load(targets + position, mask=position < N, other=-1)
    for start in range(0, count, BV):
        row = start + tl.arange(0, BV)
        rows_VD = _rows(base, start, count, D, BV, WIDTH)
        if SIX:
            r1, r2, r3 = parts_of(rows_VD)
            score_NV = tl.zeros((BN, BV), tl.float32)
            score_NV = six_products(
                hidden_ND, second_ND, third_ND, tl.trans(r1), tl.trans(r2), tl.trans(r3), score_NV
            )
        else:
            rows_VD = rows_VD.to(hidden_ND.dtype)
            score_NV = tl.dot(hidden_ND, tl.trans(rows_VD), input_precision=PRECISION)
        if HAS_BIAS:
            score_NV += tl.load(bias + first + row, mask=row < count, other=0.0)[None, :]
        hidden_away = ((row >= count) | (row == pad_here))[None, :]
        if SKIP_TARGET:
            id_V = tl.load(ids + first + row, mask=row < count, other=-2)
            hidden_away = hidden_away | (id_V[None, :] == target_N[:, None])
        score_NV = tl.where(hidden_away, -float("inf"), score_NV)
        # Where all is hidden the largest is -inf, and -inf - -inf would be NaN.
        new_N = tl.maximum(tl.maximum(top_N, tl.max(score_NV, 1)), -1e30)
        shrink_N = tl.exp(top_N - new_N)
        weight_NV = _exp(score_NV, new_N[:, None], ROUGH)
        total_N = total_N * shrink_N + tl.sum(weight_NV, 1)
        if GRADIENT:
            sum_ND = sum_ND * shrink_N[:, None]
            if SIX:
                w1, w2, w3 = parts_of(weight_NV)
                sum_ND += six_products(w1, w2, w3, r1, r2, r3, tl.zeros((BN, WIDTH), tl.float32))
            else:
                sum_ND = tl.dot(
                    weight_NV.to(rows_VD.dtype), rows_VD, acc=sum_ND, input_precision=PRECISION
                )
        top_N = new_N
    inside_N = position < N
    at = wide(split) * N + position
    tl.store(top + at, top_N, mask=inside_N)
    tl.store(total + at, total_N, mask=inside_N)
    if GRADIENT:
        column = tl.arange(0, WIDTH)
        inside = inside_N[:, None] & (column < D)[None, :]
        tl.store(sums + at[:, None] * D + column[None, :], sum_ND, mask=inside)


@triton.jit(do_not_specialize=_VARYING)
def combine(
    hidden,
    rows,
    targets,
    target_bias,
    top,
    total,
    sums,
    lse,
    loss,
    grad_hidden,
    position_weight,
    N,
    splits,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    BN: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    TARGET_AMONG_ROWS: tl.constexpr,
    GRADIENT: tl.constexpr,
):
    """Add up the splits of BN positions: log-sum-exp, loss and `position_weight` times the gradient
    of the hidden states.

    `rows` is the whole item table here. The target is one of the rows of the softmax, or stands
    beside them (TARGET_AMONG_ROWS false), as it does beside sampled negatives.
    """
    position = tl.program_id(0) * BN + tl.arange(0, BN)
    inside_N = position < N
    column = tl.arange(0, WIDTH)
    inside = inside_N[:, None] & (column < D)[None, :]
    at_ND = position.to(tl.int64)[:, None] * D + column[None, :]
    hidden_ND = tl.load(hidden + at_ND, mask=inside, other=0.0)
    target_N = tl.load(targets + position, mask=inside_N, other=0).to(tl.int64)
    row_ND = tl.load(rows + target_N[:, None] * D + column[None, :], mask=inside, other=0.0)
    row_ND = row_ND.to(hidden_ND.dtype).to(tl.float32)
    score_N = tl.sum(hidden_ND.to(tl.float32) * row_ND, 1)
    if HAS_BIAS:
        score_N += tl.load(target_bias + position, mask=inside_N, other=0.0)
    top_N = tl.full((BN,), -1e30, tl.float32)
    if not TARGET_AMONG_ROWS:
        top_N = score_N
    for split in range(splits):
        at = wide(split) * N + position
        top_N = tl.maximum(top_N, tl.load(top + at, mask=inside_N, other=0.0))
    total_N = tl.zeros((BN,), tl.float32)
    if not TARGET_AMONG_ROWS:
        total_N = tl.exp(score_N - top_N)
    sum_ND = tl.zeros((BN, WIDTH), tl.float32)
    for split in range(splits):
        at = wide(split) * N + position
        weight_N = tl.exp(tl.load(top + at, mask=inside_N, other=0.0) - top_N)
        total_N += weight_N * tl.load(total + at, mask=inside_N, other=1.0)
        if GRADIENT:
            part_ND = tl.load(sums + at[:, None] * D + column[None, :], mask=inside, other=0.0)
            sum_ND += part_ND * weight_N[:, None]
    lse_N = top_N + tl.log(total_N)
    tl.store(lse + position, lse_N, mask=inside_N)
    tl.store(loss + position, lse_N - score_N, mask=inside_N)
    if GRADIENT:
        factor_N = tl.full((BN,), -1.0, tl.float32)
        if not TARGET_AMONG_ROWS:
            factor_N += tl.exp(score_N - lse_N)
        grad_ND = sum_ND / total_N[:, None] + row_ND * factor_N[:, None]
        grad_ND *= position_weight
        tl.store(grad_hidden + at_ND, grad_ND.to(grad_hidden.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=_VARYING)
def table(
    hidden,
    rows,
    bias,
    ids,
    targets,
    lse,
    scale,
    grad_rows,
    position_weight,
    pad_id,
    N,
    V,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    BN: tl.constexpr,
    BV: tl.constexpr,
    PRECISION: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    SKIP_TARGET: tl.constexpr,
    TARGET_AMONG_ROWS: tl.constexpr,
    ADD: tl.constexpr,
):
    """Finish the gradient of BV rows: over all positions, (softmax - one-hot) times hidden state,
    times the number at `scale` and `position_weight`. ADD: add it to what `grad_rows` holds.

    The one-hot is there where the target is one of the rows. With SKIP_TARGET the rows are
    negatives with the items `ids`, and one that is the position's target has no part. Row `pad_id`
    gets 0.
    """
    SIX: tl.constexpr = PRECISION == "bf16x6"
    ROUGH: tl.constexpr = hidden.dtype.element_ty != tl.float32 and not SIX
    first = tl.program_id(0) * BV
    row = first + tl.arange(0, BV)
    rows_VD = _rows(rows, first, V, D, BV, WIDTH)
    if SIX:
        r1, r2, r3 = parts_of(rows_VD)
    else:
        rows_VD = rows_VD.to(hidden.dtype.element_ty)
    if SKIP_TARGET:
        id_V = tl.load(ids + row, mask=row < V, other=-2)
    if HAS_BIAS:
        bias_V = tl.load(bias + row, mask=row < V, other=0.0)
    sum_VD = tl.zeros((BV, WIDTH), tl.float32)
    for start in range(0, N, BN):
        position = start + tl.arange(0, BN)
        hidden_ND = _rows(hidden, start, N, D, BN, WIDTH)
        lse_N = tl.load(lse + position, mask=position < N, other=float("inf"))
        target_N = tl.load(targets + position, mask=position < N, other=-1)
        if SIX:
            second_ND = _rows(hidden + wide(N) * D, start, N, D, BN, WIDTH)
            third_ND = _rows(hidden + wide(N) * 2 * D, start, N, D, BN, WIDTH)
            score_VN = tl.zeros((BV, BN), tl.float32)
            score_VN = six_products(
                r1, r2, r3, tl.trans(hidden_ND), tl.trans(second_ND), tl.trans(third_ND), score_VN
            )
        else:
            score_VN = tl.dot(rows_VD, tl.trans(hidden_ND), input_precision=PRECISION)
        if HAS_BIAS:
            score_VN += bias_V[:, None]
        weight_VN = _exp(score_VN, lse_N[None, :], ROUGH)
        if SKIP_TARGET:
            weight_VN = tl.where(id_V[:, None] == target_N[None, :], 0.0, weight_VN)
        if TARGET_AMONG_ROWS:
            is_target = row[:, None] == target_N[None, :]
            weight_VN = tl.where(is_target, weight_VN - 1.0, weight_VN)
        if SIX:
            w1, w2, w3 = parts_of(weight_VN)
            sum_VD += six_products(
                w1, w2, w3, hidden_ND, second_ND, third_ND, tl.zeros((BV, WIDTH), tl.float32)
            )
        else:
            sum_VD = tl.dot(
                weight_VN.to(hidden_ND.dtype), hidden_ND, acc=sum_VD, input_precision=PRECISION
            )
    sum_VD = tl.where((row == pad_id)[:, None], 0.0, sum_VD * (tl.load(scale) * position_weight))
    column = tl.arange(0, WIDTH)
    inside = (row < V)[:, None] & (column < D)[None, :]
    place = grad_rows + wide(first) * D + tl.arange(0, BV)[:, None] * D + column[None, :]
    if ADD:
        sum_VD += tl.load(place, mask=inside, other=0.0)
    tl.store(place, sum_VD.to(grad_rows.dtype.element_ty), mask=inside)
