"""Averages take the place of weights for a while, and weights come back."""

import torch
from torch import nn

from scalelab.train.averaging import averaged, keep_average


def test_weights_of_one_buffer_stay_in_it() -> None:
    buffer = torch.ones(6)
    shared, alone = nn.Parameter(buffer[:4]), nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([shared, alone], lr=1.0)
    keep_average(optimizer, 0.5)
    for _ in range(2):
        for parameter in (shared, alone):
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    place = shared.data_ptr()
    with averaged([optimizer]):
        for parameter in (shared, alone):
            assert parameter.tolist() == [-0.5] * len(parameter)
        assert shared.data_ptr() == place
    for parameter in (shared, alone):
        assert parameter.tolist() == [-1.0] * len(parameter)
        assert optimizer.state[parameter]["average"].tolist() == [-0.5] * len(parameter)
