"""Test the laws of a model, which the docstring of `scalelab.models` states."""

import gc
import inspect
import weakref
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from scalelab.models import EncoderInput, PretrainingInput, is_pretrained, objective_of

__all__ = ["ModelContract"]

NUM_ITEMS, MAX_LEN, DIM = 40, 9, 8
HISTORIES = [[3, 7, 7, 1], [5], [9, 2, 30, 4, 11], [40, 6], [8, 12, 13, 14, 15, 16, 17, 18, 19]]
NOBODY_HAS = 35


def _rows(layout: list[list[tuple[int, int]]]) -> EncoderInput:
    """One list per row of (history, column where it starts)."""
    shape = (len(layout), MAX_LEN)
    items, segments, positions = (torch.zeros(shape, dtype=torch.int32) for _ in range(3))
    for row, parts in enumerate(layout):
        for history, start in parts:
            place = slice(start, start + len(HISTORIES[history]))
            items[row, place] = torch.tensor(HISTORIES[history], dtype=torch.int32)
            segments[row, place] = history + 1
            positions[row, place] = torch.arange(len(HISTORIES[history]), dtype=torch.int32)
    return EncoderInput(items, segments, positions, len(HISTORIES))


PADDED = _rows([[(h, MAX_LEN - len(items))] for h, items in enumerate(HISTORIES)])
PACKED = _rows([[(0, 0), (2, 4)], [(1, 0), (3, 1)], [(4, 0)]])


def _hidden(model: nn.Module, inputs: EncoderInput) -> list[Tensor]:
    states_BLD = model(inputs)
    return [states_BLD[inputs.segments_BL == h + 1] for h in range(inputs.num_sequences)]


class ModelContract:
    """Subclass it, call the class `Test...` and set `model`, a class.

    `options` are those that the tests build it with. `hidden_dim` and `dropout` are set where the
    model has them: to a small width, and to 0, since the laws compare numbers.
    """

    model: ClassVar[Any]
    options: ClassVar[dict[str, Any]] = {}

    def build(self, seed: int = 0) -> Any:
        """The model as a run would build it, small."""
        known = inspect.signature(self.model).parameters
        usual = {"hidden_dim": DIM, "dropout": 0.0}
        options = {key: value for key, value in usual.items() if key in known} | self.options
        generator = torch.Generator().manual_seed(seed)
        return self.model(num_items=NUM_ITEMS, max_len=MAX_LEN, generator=generator, **options)

    @pytest.fixture
    def part(self) -> Any:
        """The model in double precision, with weights far from zero, so that a leak would show."""
        model = self.build().double()
        draw = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.3)
            model.item_table_VD[0].zero_()
        return model

    def test_its_options_all_have_a_default(self) -> None:
        """A run names a model before it names its options."""
        draw = torch.Generator().manual_seed(0)
        self.model(num_items=NUM_ITEMS, max_len=MAX_LEN, generator=draw)

    def test_says_what_it_predicts(self) -> None:
        """The next item, or masked ones, of which an option says how many there are."""
        assert objective_of(self.model) in ("next", "masked")
        if objective_of(self.model) == "masked":
            share = inspect.signature(self.model).parameters["mask_prob"].default
            assert 0 < share <= 1

    def test_its_table_has_a_row_for_each_item_and_one_of_zeros(self) -> None:
        """Row 0 is padding."""
        model = self.build()
        assert len(model.item_table_VD) == NUM_ITEMS + 1
        assert not model.item_table_VD[0].any()

    def test_hidden_states_are_as_wide_as_the_table(self, part: Any) -> None:
        """Or else they could not be scored."""
        assert part(PADDED).shape == (*PADDED.item_ids_BL.shape, part.item_table_VD.size(1))

    def test_packed_and_padded_rows_give_the_same_hidden_states(self, part: Any) -> None:
        """How histories lie in rows is the packer's affair."""
        for packed, padded in zip(_hidden(part, PACKED), _hidden(part, PADDED), strict=True):
            torch.testing.assert_close(packed, padded, rtol=0, atol=1e-10)

    def test_a_later_item_changes_earlier_states_only_where_items_are_masked(
        self, part: Any
    ) -> None:
        """A model that sees the next item while it learns to predict it learns nothing."""
        changed = PADDED._replace(item_ids_BL=PADDED.item_ids_BL.clone())
        changed.item_ids_BL[2, -1] = 33
        before, after = _hidden(part, PADDED)[2], _hidden(part, changed)[2]
        assert (before[-1] - after[-1]).abs().max() > 1e-3
        if objective_of(self.model) == "masked":
            assert (before[0] - after[0]).abs().max() > 1e-3
        else:
            torch.testing.assert_close(before[:-1], after[:-1], rtol=0, atol=1e-10)

    def test_a_neighbour_in_the_row_changes_nothing(self, part: Any) -> None:
        """Nothing crosses a segment."""
        changed = PACKED._replace(item_ids_BL=PACKED.item_ids_BL.clone())
        changed.item_ids_BL[0, :4] = 21
        torch.testing.assert_close(
            _hidden(part, PACKED)[2], _hidden(part, changed)[2], rtol=0, atol=1e-10
        )

    def test_padding_is_finite_and_gets_no_gradient(self, part: Any) -> None:
        """An item that nobody has gets none either."""
        states_BLD = part(PADDED)
        assert states_BLD.isfinite().all()
        valid = states_BLD[PADDED.segments_BL > 0]
        # The loss sends the table a dense gradient, as every loss does; the lookup's rows are added
        # to it.
        (valid.square().sum() + 0.0 * part.item_table_VD.sum()).backward()
        gradient_VD = part.item_table_VD.grad
        assert gradient_VD[0].abs().max() == 0
        assert gradient_VD[HISTORIES[0]].abs().min() > 0
        assert gradient_VD[NOBODY_HAS].abs().max() == 0

    def test_gradient_of_the_lookup_is_that_of_small_differences(self, part: Any) -> None:
        """Summed over all places where an item occurs."""
        draw = torch.Generator().manual_seed(1)
        weights_ND = torch.randn(
            25, part.item_table_VD.size(1), dtype=torch.float64, generator=draw
        )

        def value() -> Tensor:
            states = torch.cat(_hidden(part, PACKED))
            own = (states * weights_ND[: len(states)]).sum()
            return own + 0.5 * part.item_table_VD.square().sum()

        value().backward()
        gradient_VD = part.item_table_VD.grad
        with torch.no_grad():
            for item, column in ((7, 3), (30, 0), (NOBODY_HAS, 1)):
                step = 1e-6
                part.item_table_VD[item, column] += step
                up = value()
                part.item_table_VD[item, column] -= 2 * step
                down = value()
                part.item_table_VD[item, column] += step
                numeric = (up - down) / (2 * step)
                torch.testing.assert_close(gradient_VD[item, column], numeric, rtol=1e-6, atol=1e-7)

    def test_reset_gives_the_first_weights_again(self) -> None:
        """To the bit: measuring moves the weights, and training starts afresh."""
        model = self.build(seed=3)
        first = {key: value.clone() for key, value in model.state_dict().items()}
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1.0)
        model.reset_parameters(torch.Generator().manual_seed(3))
        for key, value in model.state_dict().items():
            assert torch.equal(value, first[key]), key

    def test_each_objective_of_its_pretraining_is_finite_and_moves_the_table(self) -> None:
        """A step of pre-training updates the weights as a step of training does."""
        if not is_pretrained(self.model):
            pytest.skip("it is not pre-trained")
        model = self.build()
        places_N = PACKED.segments_BL.flatten().nonzero().flatten()
        items_N = PACKED.item_ids_BL.flatten()[places_N].long()
        hidden_BL = torch.where(PACKED.positions_BL % 2 == 0, PACKED.item_ids_BL, -1)
        ends = [
            int((PACKED.segments_BL.flatten() == h + 1).nonzero()[-1])
            for h in range(len(HISTORIES))
        ]
        inputs = PretrainingInput(
            masked_BL=hidden_BL,
            context_BL=hidden_BL,
            segment_BL=torch.where(hidden_BL < 0, PACKED.item_ids_BL, -1),
            other_BL=torch.where(hidden_BL < 0, 22, -1),
            segments_BL=PACKED.segments_BL,
            positions_BL=PACKED.positions_BL,
            num_sequences=PACKED.num_sequences,
            places_N=places_N,
            items_N=items_N,
            negatives_N=torch.full_like(items_N, 21, dtype=torch.int32),
            is_masked_N=hidden_BL.flatten()[places_N] < 0,
            last_S=torch.tensor(ends),
        )
        model.take_attributes(4, 2, None)
        found = model.objectives(model.pretraining_states(inputs), inputs)
        total: Any = sum(model.objective_weights[name] * value for name, value in found.items())
        assert total.isfinite()
        total.backward()
        gradient_VD = model.item_table_VD.grad
        assert gradient_VD[0].abs().max() == 0
        assert gradient_VD[HISTORIES[0]].abs().max() > 0

    def test_runs_on_fake_tensors(self) -> None:
        """Tensors with shapes and no values: that is how memory is predicted."""
        with torch._subclasses.FakeTensorMode():
            known = inspect.signature(self.model).parameters
            options = {"hidden_dim": DIM} if "hidden_dim" in known else {}
            model = self.model(
                num_items=NUM_ITEMS, max_len=MAX_LEN, generator=None, **(options | self.options)
            )
            places = [torch.zeros(3, MAX_LEN, dtype=torch.int32) for _ in range(3)]
            hidden_BLD = model(EncoderInput(places[0], places[1], places[2], 4))
            (hidden_BLD.sum() + model.item_table_VD.sum()).backward()

    def test_a_model_that_nobody_holds_is_gone(self, part: Any) -> None:
        """A hook that holds its own weight keeps a table of the catalog's size for good."""
        model = self.build()
        table = weakref.ref(model.item_table_VD)
        hidden_BLD = model(_rows([[(0, 0)], [(1, 0)]]))
        (hidden_BLD.sum() + model.item_table_VD.sum()).backward()
        del model, hidden_BLD
        gc.collect()
        assert table() is None
