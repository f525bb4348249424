"""Tables of less than four bytes a number train, resume and are refused as they should be."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from scalelab.core.errors import SpecError
from scalelab.core.spec import RunSpec
from scalelab.models.tables import ComposedRows
from scalelab.train.assemble import assemble
from scalelab.train.optimizers.rounding import StochasticRounding
from scalelab.train.step import hidden_of, loss_batch
from scalelab.train.trainer import Trainer

Small = Callable[..., RunSpec]
STREAMED = {"train.table.update": "streamed"}
BF16 = STREAMED | {"model.table_dtype": "bf16"}
QUANTISED = STREAMED | {"table": {"name": "product_quantised", "num_parts": 4, "num_codes": 16}}


def state_of(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.parts.model.state_dict().items()}


def test_a_number_is_rounded_to_its_neighbours_and_is_right_on_average() -> None:
    low, step = 1.0, 2.0**-7  # of bf16 at 1
    numbers = torch.full((200_000, 1), low + 0.25 * step)
    rounded = StochasticRounding(0).rounded(numbers.clone(), torch.bfloat16, 1, 0).float()
    assert set(rounded.unique().tolist()) == {low, low + step}
    share = (rounded > low).float().mean()
    assert share == pytest.approx(0.25, abs=0.01)
    # What bf16 can hold stays, infinities and zeros too.
    exact = torch.tensor([[0.0, -2.5, torch.inf, -torch.inf, 2.0**-120]])
    assert (
        StochasticRounding(0).rounded(exact.clone(), torch.bfloat16, 1, 0).equal(exact.bfloat16())
    )
    # Another update or tile draws other bits, the same one the same.
    first = StochasticRounding(0).rounded(numbers.clone(), torch.bfloat16, 1, 0)
    again = StochasticRounding(0).rounded(numbers.clone(), torch.bfloat16, 1, 0)
    assert first.equal(again)
    for number, place, seed in ((2, 0, 0), (1, 64, 0), (1, 0, 1)):
        other = StochasticRounding(seed).rounded(numbers.clone(), torch.bfloat16, number, place)
        assert not other.equal(first)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["cross_entropy", "bce"])
def test_a_bf16_table_learns_what_plain_rounding_would_lose(small: Small, loss: str) -> None:
    """Steps of less than half of what bf16 tells apart add up; the padding row stays zero."""
    settings = {"train.table.optimizer": "sgd", "train.table.learning_rate": 3e-4}
    found = []
    for changes in (STREAMED, BF16):
        trainer = assemble(small(changes | settings | {"loss.name": loss, "model.dropout": 0.0}))
        before = state_of(trainer)["items.weight"].float()
        for step in range(60):
            trainer.step(trainer.loader.batch(step // 8, step % 8), 1, 1)
        table: Any = trainer.parts.model.item_table_VD
        assert not table[0].any()
        found.append(table.detach().float() - before)
    wide, narrow = found
    assert table.dtype is torch.bfloat16
    # Rounded to the nearest, no number would have moved at all.
    likeness = torch.nn.functional.cosine_similarity(wide.flatten(), narrow.flatten(), dim=0)
    assert likeness > 0.6


@pytest.mark.parametrize(
    ("changes", "rule"),
    [(BF16, "adamw"), (BF16, "rowwise_adagrad"), (BF16, "lazy_adam"), (QUANTISED, "adamw")],
    ids=["bf16-adamw", "bf16-rowwise_adagrad", "bf16-lazy_adam", "quantised-adamw"],
)
def test_training_goes_on_with_the_same_bits(
    small: Small, tmp_path: Path, changes: dict[str, Any], rule: str
) -> None:
    spec = small(changes | {"train.table.optimizer": rule, "loss.name": "bce"})
    whole, begun, resumed = (assemble(spec) for _ in range(3))
    whole.fit()
    begun.fit(stop=lambda: True, keep=tmp_path)
    resumed.fit(keep=tmp_path)
    assert resumed.parts.table is not None
    for name, value in state_of(whole).items():
        assert value.equal(state_of(resumed)[name]), name
    state = resumed.parts.table.state[resumed.parts.table.table_VD]
    assert {value.dtype for value in state.values()} == {torch.float32}


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("loss", ["cross_entropy", "sampled_softmax"])
def test_the_gradient_of_codewords_is_that_of_autograd(
    small: Small, loss: str, accumulate: int
) -> None:
    """Against the rows made as a whole, with the gradient of the same loss by autograd."""
    settings = {"loss.name": loss, "train.accumulate": accumulate, "model.dropout": 0.0}
    settings |= {"train.optimizer": "sgd", "train.table.learning_rate": 1.0}
    trainer = assemble(small(QUANTISED | settings))
    rows: Any = trainer.parts.model.item_table_VD
    assert isinstance(rows, ComposedRows)
    before = rows.codewords_CP.detach().clone()
    batch = trainer.loader.batch(0, 0)

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = trainer.parts.model

        @property
        def item_table_VD(self) -> Tensor:
            places = rows.places(rows.codes_VM).long()
            whole_VD = rows.codewords_CP[places].view(rows.shape)
            return whole_VD * (torch.arange(len(rows)) > 0).unsqueeze(1)

        def forward(self, inputs: Any) -> Tensor:
            return self.inner(inputs)

    whole = replace(trainer.parts, model=Whole())
    with trainer.randomness(0):
        hidden_ND = hidden_of(whole, batch)
        value: Any = trainer.parts.loss
        value(hidden_ND, whole.model.item_table_VD, loss_batch(whole, batch)).backward()
    wanted = rows.codewords_CP.grad.clone()
    trainer.parts.model.zero_grad(set_to_none=True)
    for number in range(accumulate):
        with trainer.randomness(0):
            trainer.step(batch, 1, number, update=number == accumulate - 1)
    torch.testing.assert_close(before - rows.codewords_CP.detach(), wanted, rtol=1e-4, atol=1e-6)
    assert wanted.norm() > 0


def test_rows_are_made_of_codewords() -> None:
    codes = torch.tensor([[1, 0], [0, 1], [1, 1]], dtype=torch.uint8)
    codewords = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    rows = ComposedRows(codes, codewords)
    assert rows.shape == (3, 4)
    assert rows[0:2].tolist() == [[0.0] * 4, [1.0, 2.0, 7.0, 8.0]]
    assert rows[1:].tolist() == [[1.0, 2.0, 7.0, 8.0], [3.0, 4.0, 7.0, 8.0]]
    assert rows.index_select(0, torch.tensor([2, 0])).tolist() == [[3.0, 4.0, 7.0, 8.0], [0.0] * 4]


OWN = """
from torch import nn
from scalelab.models.gru4rec import GRU4Rec

class Own(GRU4Rec):
    def __init__(self, *, num_items, max_len, generator) -> None:
        nn.Module.__init__(self)
        self.table = nn.Parameter(nn.init.normal_(nn.Parameter(nn.Embedding(5, 4).weight)))
"""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.table_dtype": "bf16"}, "lose most of what is added"),
        ({"table.name": "product_quantised"}, "makes rows when a loss needs them"),
        (QUANTISED | {"train.table.optimizer": "lazy_adam"}, "shared by all rows"),
        (QUANTISED | {"loss.name": "dense_ce"}, "cannot be streamed"),
        ({"table.name": "quantised"}, "no item table called"),
        ({"table.num_parts": 4}, "'full' has no option 'num_parts'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    small: Small, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        small(changes)


def test_what_the_parts_themselves_refuse_is_one_line(small: Small, tmp_path: Path) -> None:
    spec = small(QUANTISED | {"table.num_parts": 3})
    with pytest.raises(SpecError, match="must be a multiple of num_parts"):
        assemble(spec)
    spec = small(QUANTISED | {"model.table_dtype": "bf16"})
    with pytest.raises(SpecError, match="kept in fp32 only"):
        assemble(spec)
    (tmp_path / "own.py").write_text(OWN)
    spec = small(BF16 | {"model": {"name": f"{tmp_path / 'own.py'}:Own", "table_dtype": "bf16"}})
    with pytest.raises(SpecError, match="makes its item table itself"):
        assemble(spec)


def test_a_run_with_the_usual_table_keeps_its_fingerprint(small: Small) -> None:
    sections = small().as_sections()
    assert "table" not in sections
    assert "table_dtype" not in sections["model"]
    assert small({"table.name": "full"}).as_sections() == sections
    prints = {small(each).fingerprint("x") for each in ({}, STREAMED, BF16, QUANTISED)}
    assert len(prints) == 4
    assert RunSpec.build(small(QUANTISED).as_sections()) == small(QUANTISED)
