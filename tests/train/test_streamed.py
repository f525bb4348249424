"""A streamed update of the item table gives the numbers of the dense one, and holds no gradient."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from scalelab.core import plugins
from scalelab.core.errors import SpecError
from scalelab.core.spec import RunSpec
from scalelab.train.assemble import assemble
from scalelab.train.trainer import Trainer

Small = Callable[..., RunSpec]
STREAMED = [
    name
    for name in plugins.available("losses")
    if name not in ("cut_ce", "liger_ce") and hasattr(plugins.load("losses", name), "streamed")
]
# Without attention: the bias of its keys has no gradient but rounding, which Adam scales up.
UNTIED = """
import torch
from torch import nn
from scalelab.models.gru4rec import GRU4Rec

class Untied(GRU4Rec):
    def __init__(self, *, num_items, max_len, generator, hidden_dim: int = 16) -> None:
        super().__init__(num_items=num_items, max_len=max_len, generator=None,
                         hidden_dim=hidden_dim, dropout=0.0)
        self.scored = nn.Parameter(torch.empty(num_items + 1, hidden_dim))
        self.items = nn.Embedding(num_items + 1, hidden_dim, padding_idx=0)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator) -> None:
        if hasattr(self, "scored"):
            for table in (self.scored, self.items.weight):
                table.normal_(0.0, 0.02, generator=generator)
                table[0].zero_()
            for parameter in self.recurrence.parameters():
                parameter.uniform_(-0.25, 0.25, generator=generator)

    @property
    def item_table_VD(self):
        return self.scored
"""


def trained(spec: RunSpec, steps: int, dtype: torch.dtype) -> Trainer:
    trainer = assemble(spec)
    trainer.parts.model.to(dtype)
    number, accumulate = 0, spec.train.accumulate
    for epoch in range(steps):
        for step in range(trainer.loader.num_steps):
            with trainer.randomness(number):
                update = (number + 1) % accumulate == 0
                trainer.step(trainer.loader.batch(epoch, step), 1, 1, update=update)
            number += 1
            if number == steps:
                return trainer
    raise AssertionError("no steps")


def distances(left: Trainer, right: Trainer) -> dict[str, float]:
    """The norm of the difference of each tensor over its norm."""
    others = right.parts.model.state_dict()
    return {
        name: float((value - others[name]).norm() / others[name].norm().clamp(min=1e-30))
        for name, value in left.parts.model.state_dict().items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gru4rec", "untied"])
@pytest.mark.parametrize("loss", STREAMED)
@pytest.mark.parametrize(
    ("dtype", "most"), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=["float32", "float64"]
)
def test_streamed_adamw_is_dense_adamw(
    small: Small, tmp_path: Path, loss: str, dtype: torch.dtype, most: float, model: str
) -> None:
    changes: dict[str, Any] = {
        "loss.name": loss,
        "model": {"name": "gru4rec", "hidden_dim": 16, "dropout": 0.0},
        "train.optimizer": "adamw",
        "train.learning_rate": 1e-3,
        "train.weight_decay": 0.1,
        # With seed 0 one gradient is 0 but for rounding in the first step, where Adam divides by
        # its size: there dense float32 is itself 2.7e-6 from float64.
        "train.seed": 1,
    }
    if model == "untied":
        (tmp_path / "untied.py").write_text(UNTIED)
        changes |= {"model": {"name": f"{tmp_path / 'untied.py'}:Untied"}}
    # Without the section: torch's own AdamW for all weights.
    dense = trained(small(changes), 50, dtype)
    streamed = trained(small(changes | {"train.table.update": "streamed"}), 50, dtype)
    assert dense.parts.table is None
    found = distances(streamed, dense)
    assert max(found.values()) <= most, found
    item_table: Any = dense.parts.model.item_table_VD
    assert item_table[0].count_nonzero() == 0


RULES = ["adam", "sgd", "rowwise_adagrad", "rowwise_adam"]


@pytest.mark.parametrize("loss", [pytest.param("cross_entropy", marks=pytest.mark.slow), "bce"])
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_gives_the_same_streamed_and_dense(small: Small, rule: str, loss: str) -> None:
    changes: dict[str, Any] = {
        "loss.name": loss,
        "model": {"name": "gru4rec", "hidden_dim": 16, "dropout": 0.0},
        "train.accumulate": 3,
        "train.clip_norm": 0.5,
        "train.table.optimizer": rule,
        "train.table.weight_decay": 0.1,
        "train.table.clip_value": 1e-3,
        "train.table.learning_rate": 0.02,
    }
    found = [
        trained(small(changes | {"train.table.update": update}), 12, torch.float64)
        for update in ("streamed", "dense")
    ]
    assert max(distances(*found).values()) < 1e-12


def test_rowwise_adagrad_is_what_it_says(small: Small) -> None:
    """One number a row: the sum of mean squares of its gradients; only touched rows move."""
    rule = {"train.table.optimizer": "rowwise_adagrad", "train.table.learning_rate": 0.5}
    trainer = assemble(small({"loss.name": "bce", "train.table.update": "streamed", **rule}))
    plain = assemble(small({"loss.name": "bce"}))
    gradients: list[Tensor] = []
    item_table: Any = plain.parts.model.item_table_VD
    item_table.register_post_accumulate_grad_hook(lambda p: gradients.append(p.grad.clone()))
    before = item_table.detach().clone()
    for each in (plain, trainer):
        with each.randomness(0):
            each.step(each.loader.batch(0, 0), 1, 1)
    mean_V1 = gradients[0].square().mean(1, keepdim=True)
    after: Any = trainer.parts.model.item_table_VD
    wanted = before - 0.5 * gradients[0] / (mean_V1.sqrt() + 1e-8)
    torch.testing.assert_close(after.detach(), wanted, rtol=1e-5, atol=1e-6)
    assert trainer.parts.table is not None
    state = trainer.parts.table.state[after]
    assert state["sum"].shape == (after.shape[0],)
    torch.testing.assert_close(state["sum"], mean_V1[:, 0], rtol=1e-4, atol=1e-12)


def test_lazy_adam_leaves_rows_that_no_step_touches(small: Small) -> None:
    changes = {"data.num_items": 3000, "loss.name": "bce", "train.table.optimizer": "lazy_adam"}
    changes |= {"train.table.update": "streamed", "train.table.weight_decay": 0.5}
    trainer = assemble(small(changes))
    item_table: Any = trainer.parts.model.item_table_VD
    before = item_table.detach().clone()
    batch = trainer.loader.batch(0, 0)
    with trainer.randomness(0):
        trainer.step(batch, 1, 1)
    touched = torch.zeros(len(before), dtype=torch.bool)
    for ids in (batch.item_ids_BL, batch.targets_N, *(each.ids for each in batch.negatives)):
        touched[ids.flatten().long()] = True
    touched[0] = False
    moved = (item_table.detach() != before).any(1)
    assert torch.equal(moved, touched)
    assert 100 < int(touched.sum()) < len(before) - 100


@pytest.mark.parametrize(
    "rule",
    [
        "adamw",
        "lazy_adam",
        *(
            pytest.param(rule, marks=pytest.mark.slow)
            for rule in ("rowwise_adagrad", "rowwise_adam")
        ),
    ],
)
def test_training_goes_on_from_a_checkpoint_with_the_same_numbers(
    small: Small, tmp_path: Path, rule: str
) -> None:
    changes = {"train.table.update": "streamed", "train.table.optimizer": rule}
    changes |= {"train.schedule": "cosine", "train.warmup_updates": 3, "loss.name": "bce"}
    whole, begun, resumed = (assemble(small(changes)) for _ in range(3))
    whole.fit()
    begun.fit(stop=lambda: True, keep=tmp_path)
    resumed.fit(keep=tmp_path)
    assert max(distances(resumed, whole).values()) == 0.0
    whole.reset()
    assert not whole.parts.table.state  # pyright: ignore[reportOptionalMemberAccess]
    whole.fit()
    assert max(distances(whole, resumed).values()) == 0.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train.table.update": "streamed", "train.ema_decay": 0.9}, "ema_decay averages"),
        ({"train.table.update": "streamed", "loss.name": "dense_ce"}, "cannot be streamed"),
        ({"train.table.optimizer": "lazy_adam"}, "does not say which"),
        ({"train.seed.deeper": 1}, "seed is a value"),
        ({"train.table.updat": "streamed"}, "unknown key 'train.table.updat'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    small: Small, changes: dict[str, Any], words: str
) -> None:
    if "train.seed.deeper" in changes:
        changes |= {"train.seed": 1}
    with pytest.raises(SpecError, match=words):
        small(changes)


def test_a_model_that_sends_a_whole_gradient_is_refused(small: Small, tmp_path: Path) -> None:
    text = UNTIED.replace("self.items = nn.Embedding", "self.other = nn.Embedding")
    text = text.replace("self.items.weight", "self.other.weight")
    text = text.replace("return self.scored", "return self.other.weight")
    text += """
    def forward(self, inputs):
        x_BLD = self.other(inputs.item_ids_BL)
        return self.encode(x_BLD, inputs.positions_BL, inputs.segments_BL, inputs.num_sequences)
"""
    (tmp_path / "whole.py").write_text(text)
    model = {"name": f"{tmp_path / 'whole.py'}:Untied"}
    trainer = assemble(small({"model": model, "train.table.update": "streamed"}))
    with pytest.raises(SpecError, match="gradient of its whole size"):
        trainer.step(trainer.loader.batch(0, 0), 1, 1)


def test_a_run_without_the_section_keeps_its_fingerprint(small: Small) -> None:
    train = small().as_sections()["train"]
    assert not {"table", "schedule", "warmup_updates", "clip_norm"} & train.keys()
    assert small({"train.table.update": "dense"}).as_sections() == small().as_sections()
    streamed = small({"train.table.update": "streamed"})
    assert streamed.fingerprint("x") != small().fingerprint("x")
    assert RunSpec.build(streamed.as_sections()) == streamed


def test_bf16_trains_a_streamed_table_as_a_dense_one(small: Small) -> None:
    base = {"train.precision": "bf16", "train.table.optimizer": "sgd", "model.dropout": 0.0}
    for loss in ("cross_entropy", "sampled_softmax"):
        found = [
            trained(small(base | {"loss.name": loss, "train.table.update": u}), 10, torch.float32)
            for u in ("streamed", "dense")
        ]
        assert distances(*found)["items.weight"] < 2e-2
