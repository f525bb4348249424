"""Each tensor of a training belongs to one component, by what it is and whose it is."""

import torch
from torch import nn

from scalelab.measure.training_parts import TrainingParts


def made(user_table: bool):
    model = nn.ModuleDict({"item_rows": nn.Embedding(7, 2), "user_rows": nn.Embedding(5, 2)})
    model["encoder"] = nn.Linear(2, 2)
    model.register_buffer("positions", torch.zeros(3))
    optimizer = torch.optim.Adam(model.parameters())
    sum(p.sum() for p in model.parameters()).backward()
    optimizer.step()
    users = model["user_rows"].weight
    # A view of the table is the table.
    return TrainingParts(
        model=model,
        table=[model["item_rows"].weight.detach()],
        optimizers=(optimizer,),
        user_table=users if user_table else None,
    )


def numbers(labelled):
    """How many numbers each component has, in the order in which they are said."""
    found = {}
    for component, tensors in labelled:
        found[component] = found.get(component, 0) + sum(each.numel() for each in tensors)
    return found


def test_tables_the_rest_and_buffers_are_told_apart():
    parts = made(user_table=True)
    encoder = 4 + 2
    assert numbers(parts.weights()) == {
        "item_table": 14, "user_table": 10, "encoder_parameters": encoder + 3
    }  # fmt: skip
    assert numbers(parts.gradients()) == {
        "item_table_gradient": 14, "user_table": 10, "encoder_gradients": encoder
    }  # fmt: skip


def test_without_a_table_of_users_it_is_a_part_of_the_encoder():
    parts = made(user_table=False)
    assert numbers(parts.weights()) == {"item_table": 14, "encoder_parameters": 10 + 6 + 3}
    assert "user_table" not in numbers(parts.state())


def test_a_gradient_that_is_not_there_is_not_counted():
    parts = made(user_table=False)
    parts.model["item_rows"].weight.grad = None
    assert numbers(parts.gradients()) == {"encoder_gradients": 16}


def test_the_state_of_the_users_comes_after_that_of_all_and_so_counts_as_theirs():
    labels = [component for component, _ in made(user_table=True).state()]
    assert labels == ["optimizer_state", "user_table"]
    # Two averages of each number, and a count of steps.
    assert numbers(made(user_table=True).state())["user_table"] == 2 * 10 + 1
