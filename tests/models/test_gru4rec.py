import pytest
import torch

from scalelab.models import EncoderInput
from scalelab.models.gru4rec import GRU4Rec


def build(**options):
    generator = torch.Generator().manual_seed(0)
    options = {"hidden_dim": 8, "init_std": 0.5, "dropout": 0.0} | options
    return GRU4Rec(num_items=20, max_len=6, generator=generator, **options).double()


@pytest.mark.parametrize("num_blocks", [1, 2])
def test_each_history_is_run_alone_from_a_state_of_zeros(num_blocks):
    model = build(num_blocks=num_blocks)
    # Two histories in the first row, the second of them first by number; one at the end of a row.
    items = torch.tensor([[4, 5, 9, 1, 2, 0], [0, 0, 0, 0, 7, 8]])
    segments = torch.tensor([[2, 2, 2, 1, 1, 0], [0, 0, 0, 0, 3, 3]])
    positions = torch.tensor([[0, 1, 2, 0, 1, 0], [0, 0, 0, 0, 0, 1]])
    states = model(EncoderInput(items, segments, positions, 3))
    for history, where in (([1, 2], segments == 1), ([4, 5, 9], segments == 2)):
        alone = model.recurrence(model.item_table_VD[history].unsqueeze(0))[0][0]
        torch.testing.assert_close(states[where], alone, rtol=0, atol=1e-12)


def test_gradients_do_not_pass_from_one_history_to_another():
    model = build()
    segments = torch.tensor([[1, 1, 1, 2, 2, 0]])
    positions = torch.tensor([[0, 1, 2, 0, 1, 0]])
    x = torch.randn(1, 6, 8, dtype=torch.float64, requires_grad=True)
    model.encode(x, positions, segments, 2)[0, 3:5].sum().backward()
    assert x.grad[0, 3:5].abs().min() > 0
    assert x.grad[0, [0, 1, 2, 5]].abs().max() == 0


@pytest.mark.parametrize("options", [{"hidden_dim": 0}, {"num_blocks": 0}, {"dropout": 1.0}])
def test_bad_options_fail_at_once(options):
    (name,) = options
    with pytest.raises(ValueError, match=name):
        build(**options)
