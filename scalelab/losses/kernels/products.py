"""Multiply float32 matrices in Triton as six products of bfloat16 parts ("bf16x6").

Three bfloat16 numbers hold one of float32. Hopper's tensor cores take bfloat16 operands with either
order of rows and columns, TF32 in one only: three TF32 products left registers spilled and slower
instructions.
"""

# Triton compiles these functions from their source: their types are not Python's.
# pyright: basic, reportAssignmentType=false, reportOperatorIssue=false

import triton
import triton.language as tl

__all__ = ["parts_of", "six_products", "split", "wide"]


@triton.jit
def wide(number):
    """The number as an int64: a table may have more than 2^31 numbers."""
    return tl.zeros((), tl.int64) + number


@triton.jit
def parts_of(numbers):
    """Three bfloat16 numbers for each float32 one, which their sum equals."""
    first = numbers.to(tl.bfloat16)
    rest = numbers - first.to(tl.float32)
    second = rest.to(tl.bfloat16)
    return first, second, (rest - second.to(tl.float32)).to(tl.bfloat16)


@triton.jit(do_not_specialize=["count"])
def split(numbers, parts, count, BLOCK: tl.constexpr):
    """Write the three bfloat16 parts of `count` float32 numbers, (3, count)."""
    at = wide(tl.program_id(0)) * BLOCK + tl.arange(0, BLOCK)
    first, second, third = parts_of(tl.load(numbers + at, mask=at < count, other=0.0))
    tl.store(parts + at, first, mask=at < count)
    tl.store(parts + wide(count) + at, second, mask=at < count)
    tl.store(parts + wide(count) * 2 + at, third, mask=at < count)


@triton.jit
def six_products(a1, a2, a3, b1, b2, b3, total):
    """total + a @ b from the six products of parts that float32 can show, small ones first.

    Tensor cores cut off what they add to `total`, where an ordinary sum rounds: one that grows over
    many tiles drifts (by 1.6e-5 over 51,200 positions, 6e-8 with a `total` of zeros for each tile).
    """
    total = tl.dot(a3, b1, acc=total)
    total = tl.dot(a1, b3, acc=total)
    total = tl.dot(a2, b2, acc=total)
    total = tl.dot(a2, b1, acc=total)
    total = tl.dot(a1, b2, acc=total)
    return tl.dot(a1, b1, acc=total)
