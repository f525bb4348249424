"""Which weights an optimizer updates, and with which step size and decay."""

import pytest
import torch
from torch import nn

from scalelab.core.errors import SpecError
from scalelab.core.train_section import TrainSpec
from scalelab.train.optimizers.build import build_optimizers


class Model(nn.Module):
    """An item table and one matrix."""

    def __init__(self):
        super().__init__()
        self.item_table = nn.Embedding(5, 3)
        self.encoder = nn.Linear(3, 3, bias=False)

    @property
    def item_table_VD(self):
        return self.item_table.weight


def built(model, **keys):
    train = TrainSpec.model_validate({"learning_rate": 0.1, "weight_decay": 0.2, **keys})
    return build_optimizers(model, train)


def updated(optimizer):
    return [p for group in optimizer.param_groups for p in group["params"]]


def test_without_a_section_for_the_table_one_optimizer_updates_all():
    model = Model()
    optimizer, table = built(model, optimizer="sgd")
    assert table is None
    assert isinstance(optimizer, torch.optim.SGD)
    assert {id(p) for p in updated(optimizer)} == {id(p) for p in model.parameters()}
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.1, 0.2)


def test_a_table_of_its_own_leaves_the_other_and_takes_its_settings_where_it_has_none():
    model = Model()
    optimizer, table = built(model, table={"optimizer": "sgd"})
    assert updated(optimizer) == [model.encoder.weight]
    assert table.table_VD is model.item_table.weight
    model.item_table.weight.grad = torch.ones(5, 3)
    before = model.item_table.weight.detach().clone()
    table.step()
    # The step and the decay of [train].
    expected = before - 0.1 * (1 + 0.2 * before)
    torch.testing.assert_close(model.item_table.weight.detach(), expected)


def test_the_tables_own_step_and_a_decay_of_zero_count():
    model = Model()
    _, table = built(model, table={"optimizer": "sgd", "learning_rate": 0.5, "weight_decay": 0.0})
    model.item_table.weight.grad = torch.ones(5, 3)
    before = model.item_table.weight.detach().clone()
    table.step()
    torch.testing.assert_close(model.item_table.weight.detach(), before - 0.5)


def test_a_table_that_is_no_parameter_cannot_have_an_optimizer():
    class Tied(Model):
        @property
        def item_table_VD(self):
            return self.item_table.weight * 2

    assert built(Tied())[1] is None
    with pytest.raises(SpecError, match="not a parameter of its own"):
        built(Tied(), table={"learning_rate": 0.5})
