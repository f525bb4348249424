"""Account and estimate of models that are put together at random, against torch's profiler."""

import random
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import scalelab

from .models import existing_bytes

Profiler = Callable[[Callable[[], object]], int]
Operation = Callable[["RandomModel", Tensor, Tensor], Tensor]
WIDTH = 48

# Two earlier results -> the next one. Many send several gradients to one tensor.
OPERATIONS: dict[str, Operation] = {
    "linear": lambda model, a, _: model.linear(a),
    "twice": lambda model, a, _: model.linear(model.linear(a)),
    "joined": lambda model, a, b: model.joined(torch.cat([a, b], -1)),
    "norm": lambda model, a, _: model.norm(a),
    "lookup": lambda model, a, _: model.table(model.ids) + a,
    "rows": lambda model, a, _: a[model.ids],
    "add": lambda _, a, b: a + b,
    "subtract": lambda _, a, b: a - b,
    "multiply": lambda _, a, b: a * b,
    "square": lambda _, a, __: a * a,
    "divide": lambda _, a, b: a / (b.abs() + 1),
    "gate": lambda _, a, b: a * torch.sigmoid(b),
    "swiglu": lambda _, a, b: F.silu(a) * b,
    "softmax": lambda _, a, __: F.softmax(a, -1),
    "scores": lambda _, a, b: F.softmax(a @ b.T, -1) @ a,
    "attention": lambda _, a, b: F.scaled_dot_product_attention(a[None], b[None], a[None])[0],
    "dropout": lambda _, a, __: F.dropout(a, 0.3),
    "halves": lambda _, a, __: torch.cat([a[:, :24] * a[:, 24:], a[:, :24] + a[:, 24:]], -1),
    "centre": lambda _, a, b: a - a.mean(-1, keepdim=True) + b.sum(0),
    "where": lambda _, a, b: torch.where(a > 0, a, b),
    "largest": lambda _, a, b: torch.maximum(a, b),
    "mean": lambda _, a, b: torch.stack([a, b]).mean(0),
    "weight": lambda model, a, _: a + model.norm.weight.expand_as(a),
    "scale": lambda _, a, __: a * 5,
}
# They save nothing for the backward pass: the peak is where gradients meet.
LINEAR = ("add", "subtract", "mean", "scale")


class RandomModel(nn.Module):
    """Three to nine operations, each on two random earlier results; the ids are an input."""

    def __init__(self, seed: int, num_rows: int) -> None:
        super().__init__()
        draw = random.Random(seed)
        self.linear, self.joined = nn.Linear(WIDTH, WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.norm, self.table = nn.LayerNorm(WIDTH), nn.Embedding(50, WIDTH)
        choices = LINEAR if seed % 4 < 2 else list(OPERATIONS)
        names = [draw.choice(choices) for _ in range(draw.randint(3, 9))]
        self.plan = [(name, draw.random(), draw.random()) for name in names]
        self.ids = torch.randint(0, 50, (num_rows,))

    def forward(self, inputs: Tensor) -> Tensor:
        found = [self.linear(inputs)]
        for name, first, second in self.plan:
            a, b = (found[int(part * len(found))] for part in (first, second))
            found.append(OPERATIONS[name](self, a, b))
        return sum(each.sum() for each in found[-3:])


def _step(model: nn.Module, inputs: tuple[Tensor, Tensor]) -> Tensor:
    # Whether or not a plan looks something up, the ids take part in the step.
    model.ids = inputs[1]
    return model(inputs[0]) + inputs[1].sum() * 0.0


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.slow
def test_any_graph_is_counted_as_the_profiler_counts_it(seed: int, profiler_peak: Profiler) -> None:
    torch.manual_seed(seed)
    num_rows = 500
    model = RandomModel(seed, num_rows)
    inputs = torch.randn(num_rows, WIDTH), model.ids
    made = (torch.optim.AdamW, torch.optim.SGD)[seed % 2]
    optimizer = made(model.parameters(), lr=1e-3)
    estimated = scalelab.estimate(model, _step, inputs, optimizer, on="cpu")

    def work() -> None:
        _step(model, inputs).backward()
        optimizer.step()
        optimizer.zero_grad()

    work()
    with scalelab.account(model, optimizer) as taken:
        work()
    expected = existing_bytes(model, inputs, optimizer) + profiler_peak(work)
    assert taken.memory.exact
    assert taken.memory.peak_bytes == pytest.approx(expected, rel=1e-3)
    assert estimated.memory.peak_bytes == pytest.approx(expected, rel=1e-3)
