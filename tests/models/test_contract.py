"""Laws of every encoder: causal unless it guesses masked items, blind to padding and to other
sequences, the same packed or padded.
"""

import gc
import weakref

import pytest
import torch

from scalelab.core import plugins
from scalelab.models import EncoderInput

NUM_ITEMS, MAX_LEN, DIM = 40, 9, 8
HISTORIES = [[3, 7, 7, 1], [5], [9, 2, 30, 4, 11], [40, 6], [8, 12, 13, 14, 15, 16, 17, 18, 19]]

pytestmark = pytest.mark.parametrize("name", plugins.available("models"))


def build(name: str, **options: object) -> torch.nn.Module:
    known = plugins.options("models", name)
    wanted = {"hidden_dim": DIM, "dropout": 0.0} | options
    options = {key: value for key, value in wanted.items() if key in known}
    generator = torch.Generator().manual_seed(0)
    model = plugins.load("models", name)(
        num_items=NUM_ITEMS, max_len=MAX_LEN, generator=generator, **options
    ).double()
    with torch.no_grad():  # far from zero, so that a leak would show
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
        model.item_table_VD[0].zero_()
    return model


def rows(layout: list[list[tuple[int, int]]]) -> EncoderInput:
    """One list a row of (history, column where it starts)."""
    shape = (len(layout), MAX_LEN)
    items, segments, positions = (torch.zeros(shape, dtype=torch.int32) for _ in range(3))
    for row, parts in enumerate(layout):
        for history, start in parts:
            place = slice(start, start + len(HISTORIES[history]))
            items[row, place] = torch.tensor(HISTORIES[history], dtype=torch.int32)
            segments[row, place] = history + 1
            positions[row, place] = torch.arange(len(HISTORIES[history]), dtype=torch.int32)
    return EncoderInput(items, segments, positions, len(HISTORIES))


PADDED = rows([[(h, MAX_LEN - len(items))] for h, items in enumerate(HISTORIES)])
PACKED = rows([[(0, 0), (2, 4)], [(1, 0), (3, 1)], [(4, 0)]])


def hidden(model: torch.nn.Module, inputs: EncoderInput) -> list[torch.Tensor]:
    states_BLD = model(inputs)
    return [states_BLD[inputs.segments_BL == h + 1] for h in range(inputs.num_sequences)]


def test_packed_and_padded_rows_give_the_same_hidden_states(name: str) -> None:
    model = build(name)
    for packed, padded in zip(hidden(model, PACKED), hidden(model, PADDED), strict=True):
        torch.testing.assert_close(packed, padded, rtol=0, atol=1e-10)


def test_a_later_item_changes_earlier_states_only_where_items_are_masked(name: str) -> None:
    model = build(name)
    changed = PADDED._replace(item_ids_BL=PADDED.item_ids_BL.clone())
    changed.item_ids_BL[2, -1] = 33
    before, after = hidden(model, PADDED)[2], hidden(model, changed)[2]
    assert (before[-1] - after[-1]).abs().max() > 1e-3
    if "mask_prob" in plugins.options("models", name):
        assert (before[0] - after[0]).abs().max() > 1e-3
    else:
        torch.testing.assert_close(before[:-1], after[:-1], rtol=0, atol=1e-10)


def test_a_neighbour_in_the_row_changes_nothing(name: str) -> None:
    model = build(name)
    changed = PACKED._replace(item_ids_BL=PACKED.item_ids_BL.clone())
    changed.item_ids_BL[0, :4] = 21
    torch.testing.assert_close(
        hidden(model, PACKED)[2], hidden(model, changed)[2], rtol=0, atol=1e-10
    )


def test_padding_is_finite_and_gets_no_gradient(name: str) -> None:
    model = build(name)
    states_BLD = model(PADDED)
    assert states_BLD.isfinite().all()
    valid = states_BLD[PADDED.segments_BL > 0]
    # The loss sends the table a dense gradient, as every loss does; the lookup's rows are added to
    # it.
    (valid.square().sum() + 0.0 * model.item_table_VD.sum()).backward()
    gradient_VD = model.item_table_VD.grad
    assert gradient_VD[0].abs().max() == 0
    assert gradient_VD[HISTORIES[0]].abs().min() > 0
    assert gradient_VD[35].abs().max() == 0  # an item that nobody has


def test_gradient_of_the_lookup_is_that_of_plain_autograd(name: str) -> None:
    model = build(name)
    weights_ND = torch.randn(
        25, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )

    def value() -> torch.Tensor:
        states = torch.cat(hidden(model, PACKED))
        return (states * weights_ND[: len(states)]).sum() + 0.5 * model.item_table_VD.square().sum()

    value().backward()
    gradient_VD = model.item_table_VD.grad
    with torch.no_grad():
        for item, column in ((7, 3), (30, 0), (35, 1)):
            step = 1e-6
            model.item_table_VD[item, column] += step
            up = value()
            model.item_table_VD[item, column] -= 2 * step
            down = value()
            model.item_table_VD[item, column] += step
            numeric = (up - down) / (2 * step)
            torch.testing.assert_close(gradient_VD[item, column], numeric, rtol=1e-6, atol=1e-7)


def test_reset_gives_the_first_weights_again(name: str) -> None:
    known = plugins.options("models", name)
    options = {"hidden_dim": DIM} if "hidden_dim" in known else {}
    model_class = plugins.load("models", name)
    model = model_class(
        num_items=NUM_ITEMS, max_len=MAX_LEN, generator=torch.Generator().manual_seed(3), **options
    )
    first = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    model.reset_parameters(torch.Generator().manual_seed(3))
    for key, value in model.state_dict().items():
        assert torch.equal(value, first[key]), key


def test_a_model_that_nobody_holds_is_gone(name: str) -> None:
    """A hook that holds its own weight keeps a table of the catalog's size for good."""
    model = build(name)
    table = weakref.ref(model.item_table_VD)
    hidden_BLD = model(rows([[(0, 0)], [(1, 0)]]))
    (hidden_BLD.sum() + model.item_table_VD.sum()).backward()
    del model, hidden_BLD
    gc.collect()
    assert table() is None
