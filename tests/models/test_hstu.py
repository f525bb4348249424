import math

import pytest
import torch
from torch.nn import functional as F

from scalelab.models import EncoderInput
from scalelab.models.hstu import HSTU

MAX_LEN, DIM = 7, 8


def build(**options):
    generator = torch.Generator().manual_seed(0)
    options = {"hidden_dim": DIM, "init_std": 0.5, "dropout": 0.0} | options
    return HSTU(num_items=20, max_len=MAX_LEN, generator=generator, **options).double()


def plain(model, history):
    """One history, position by position and head by head, as the paper's Eq. 1-3 tell it."""
    length = len(history)
    x = model.item_table_VD[history] * math.sqrt(DIM) + model.positions[:length]
    for block in model.blocks:
        gate, value, query, key = F.silu(block.project(block.norm(x))).split(DIM, dim=1)
        attended = torch.zeros_like(x)
        width = DIM // block.num_heads
        for head in range(block.num_heads):
            part = slice(head * width, (head + 1) * width)
            for i in range(length):
                for j in range(i + 1):
                    score = query[i, part] @ key[j, part] + block.distance_bias[i - j]
                    attended[i, part] += F.silu(score) / MAX_LEN * value[j, part]
        x = x + block.out(gate * block.attended_norm(attended))
    return model.norm(x)


@pytest.mark.parametrize("num_heads", [1, 2])
def test_it_is_the_papers_layer_position_by_position(num_heads):
    model = build(num_heads=num_heads)
    items = torch.tensor([[4, 5, 9, 1, 2, 2, 0]])
    segments = torch.tensor([[1, 1, 1, 2, 2, 2, 0]])
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 0]])
    with torch.no_grad():
        states = model(EncoderInput(items, segments, positions, 2))
        torch.testing.assert_close(states[0, :3], plain(model, [4, 5, 9]), rtol=0, atol=1e-10)
        torch.testing.assert_close(states[0, 3:6], plain(model, [1, 2, 2]), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "options", [{"hidden_dim": 0}, {"num_blocks": -1}, {"num_heads": 3}, {"dropout": -0.1}]
)
def test_bad_options_fail_at_once(options):
    (name,) = options
    with pytest.raises(ValueError, match=name):
        build(**options)
