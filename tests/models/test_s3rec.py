"""S3-Rec's objectives are those computed by hand, and what is hidden stays hidden."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from scalelab.batches.pretraining import PretrainingLoader
from scalelab.core.spec import BatchSpec
from scalelab.datasets.interactions import Histories
from scalelab.models import EncoderInput, PretrainingInput
from scalelab.models._pretraining import attribute_loss, pairwise_loss  # noqa: PLC2701
from scalelab.models.s3rec import S3Rec
from scalelab.train.pretraining import input_of

HISTORIES = [[1, 2, 3, 4, 5], [6, 7], [8, 9, 1, 10], [2, 5, 8]]
NUM_ITEMS, NUM_ATTRIBUTES, DIM = 12, 5, 6
# Attributes of items 0 (padding) to 12; 0 fills up.
OWN = [[0, 0], [1, 2], [3, 0], [0, 0], [4, 5], [1, 0], [2, 0], [5, 0], *[[1, 3]] * 5]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def histories() -> Histories:
    ends = np.cumsum([len(items) for items in HISTORIES])
    starts = ends - [len(items) for items in HISTORIES]
    return Histories(item_ids=np.concatenate(HISTORIES).astype(np.int32), starts=starts, ends=ends)


def inputs(packer: str = "first_fit", epoch: int = 0) -> PretrainingInput:
    loader = PretrainingLoader(
        histories(),
        num_items=NUM_ITEMS,
        batch=BatchSpec(packer=packer, size=4, max_len=5),
        seed=3,
        mask_prob=0.4,
    )
    return input_of(loader.batch(epoch, 0))


def model(**options: float) -> S3Rec:
    draw = torch.Generator().manual_seed(0)
    built = S3Rec(
        num_items=NUM_ITEMS, max_len=5, generator=draw, hidden_dim=DIM, dropout=0.0, **options
    )
    built.take_attributes(NUM_ATTRIBUTES, 2, draw)
    built.item_attributes_VM.copy_(torch.tensor(OWN))
    with torch.no_grad():  # far from zero, so that scores differ
        for weights in built.parameters():
            weights.add_(torch.randn(weights.shape, generator=draw) * 0.3)
        built.item_table_VD[0].zero_()
    return built.double()


def head(built: S3Rec, name: str, hidden: np.ndarray) -> np.ndarray:
    weight, bias = (value.detach().numpy() for value in built.heads[name].parameters())
    return hidden @ weight.T + bias


def test_binary_cross_entropy_of_attributes_is_the_plain_sum() -> None:
    hidden, table = np.array([[0.5, -1.0], [2.0, 0.3]]), np.array([[1.0, 0.2], [-0.4, 3.0]])
    found = attribute_loss(
        torch.from_numpy(hidden), torch.from_numpy(table), torch.tensor([[2, 0], [0, 0]])
    )
    probability = sigmoid(hidden @ table.T)
    by_hand = [
        -math.log(1 - probability[0, 0]) - math.log(probability[0, 1]),
        -math.log(1 - probability[1, 0]) - math.log(1 - probability[1, 1]),
    ]
    np.testing.assert_allclose(found.numpy(), by_hand, rtol=1e-12)


def test_pairs_are_compared_by_their_probabilities() -> None:
    hidden, right, wrong = (
        torch.tensor([values], dtype=torch.float64)
        for values in ([1.0, 2.0], [0.5, 0.0], [0.0, -1.0])
    )
    expected = -math.log(sigmoid(np.float64(sigmoid(0.5) - sigmoid(-2.0))))
    assert float(pairwise_loss(hidden, right, wrong)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("epoch", [0, 1])
def test_the_objectives_are_those_computed_by_hand(epoch: int) -> None:
    given, built = inputs(epoch=epoch), model()
    states = built.pretraining_states(given)
    found = {name: value.item() for name, value in built.objectives(states, given).items()}
    hidden, context, segment, other = (each.detach().numpy() for each in states)
    attributes = built.attribute_table_AD.detach().numpy()
    table = built.item_table_VD.detach().numpy()
    expected = dict.fromkeys(found, 0.0)
    assert set(expected) == {"aap", "mip", "map", "sp"}
    for n, place in enumerate(given.places_N.tolist()):
        item, negative = int(given.items_N[n]), int(given.negatives_N[n])
        name = "map" if given.is_masked_N[n] else "aap"
        for a, score in enumerate(head(built, name, hidden[place]) @ attributes.T, start=1):
            has = a in OWN[item]
            expected[name] -= math.log(sigmoid(score) if has else 1 - sigmoid(score))
        if given.is_masked_N[n]:
            asked = head(built, "mip", hidden[place])
            apart = sigmoid(asked @ table[item]) - sigmoid(asked @ table[negative])
            expected["mip"] -= math.log(sigmoid(apart))
    for place in given.last_S.tolist():
        asked = head(built, "sp", context[place])
        apart = sigmoid(asked @ segment[place]) - sigmoid(asked @ other[place])
        expected["sp"] -= math.log(sigmoid(apart))
    for name, value in expected.items():
        assert found[name] == pytest.approx(value / len(HISTORIES), rel=1e-12), name


def test_pretraining_looks_in_both_directions_and_fine_tuning_back_alone() -> None:
    given, built = inputs("pad_left"), model()
    last = given.last_S[given.items_N[0] // 100]  # of the first sequence
    row, column = divmod(int(last), 5)

    def states(item: int, pretraining: bool) -> Tensor:
        rows = given.context_BL.clone()
        rows[row, column] = item
        if pretraining:
            return built.pretraining_states(given._replace(masked_BL=rows))[0].view(-1, 5, DIM)[row]
        plain = EncoderInput(
            rows.clamp(min=1) * (given.segments_BL > 0),
            given.segments_BL,
            given.positions_BL,
            given.num_sequences,
        )
        return built(plain)[row]

    apart = (states(7, True) - states(9, True)).abs()
    assert apart[given.segments_BL[row] > 0].min(0).values.max() > 1e-4
    apart = (states(7, False) - states(9, False)).abs()
    assert apart[:column].max() == 0
    assert apart[column].max() > 1e-4


def test_packed_and_padded_rows_give_the_same_objectives() -> None:
    built = model()
    found = []
    for packer in ("first_fit", "pad_left"):
        given = inputs(packer)
        found.append(built.objectives(built.pretraining_states(given), given))
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-12, atol=0)


@pytest.mark.parametrize("weight", ["aap", "mip", "map", "sp"])
def test_every_objective_moves_the_item_table(weight: str) -> None:
    others = {f"{name}_weight": 0.0 for name in ("aap", "mip", "map", "sp") if name != weight}
    given, built = inputs(), model(**others)
    found = built.objectives(built.pretraining_states(given), given)
    sum(built.objective_weights[name] * value for name, value in found.items()).backward()
    gradient_VD = built.item_table_VD.grad
    assert gradient_VD[0].abs().max() == 0
    assert gradient_VD[1:10].abs().max() > 0


def test_fine_tuning_starts_alike_with_and_without_pretraining() -> None:
    with_, without = (
        S3Rec(
            num_items=9,
            max_len=4,
            generator=torch.Generator().manual_seed(5),
            pretrain_epochs=epochs,
        ).state_dict()
        for epochs in (3, 0)
    )
    assert all(torch.equal(value, with_[name]) for name, value in without.items())
    assert any(name.startswith("heads") for name in with_)
    assert not any(name.startswith("heads") for name in without)


def test_attributes_are_drawn_again_by_a_reset() -> None:
    draw = torch.Generator().manual_seed(0)
    built = S3Rec(num_items=NUM_ITEMS, max_len=5, generator=draw, hidden_dim=DIM)
    built.take_attributes(NUM_ATTRIBUTES, 2, draw)
    first = {name: value.clone() for name, value in built.state_dict().items()}
    with torch.no_grad():
        for weights in built.parameters():
            weights.add_(1.0)
    built.reset_parameters(torch.Generator().manual_seed(0))
    assert "attribute_table_AD" in first
    assert all(torch.equal(value, first[name]) for name, value in built.state_dict().items())


def test_no_objective_at_all_is_refused() -> None:
    none = {f"{name}_weight": 0.0 for name in ("aap", "mip", "map", "sp")}
    with pytest.raises(ValueError, match="one weight of an objective"):
        model(**none)
