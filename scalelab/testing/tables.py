"""Test the laws of an item table, which the docstring of `scalelab.models.tables` states."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from scalelab.models.tables import ComposedRows, tensors_of

__all__ = ["TableContract"]

NUM_ITEMS, DIM = 300, 16
IDS_BL = torch.tensor([[3, 0, 7, 3], [300, 1, 0, 7]], dtype=torch.int32)


class TableContract:
    """Subclass it, call the class `Test...` and set `table`, a class.

    `options` are those that the tests build it with.
    """

    table: ClassVar[Any]
    options: ClassVar[dict[str, Any]] = {}

    def build(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
        """The table as a model would build it, small, with numbers drawn."""
        part = self.table(num_items=NUM_ITEMS, hidden_dim=DIM, dtype=dtype, **self.options)
        part.reset(0.5, torch.Generator().manual_seed(seed))
        return part

    def test_its_options_all_have_a_default(self) -> None:
        """A run names a table before it names its options."""
        self.table(num_items=NUM_ITEMS, hidden_dim=DIM, dtype=torch.float32)

    def test_says_whether_it_makes_rows(self) -> None:
        """The run is refused with a loss that cannot stream before anything is built."""
        makes_rows = getattr(self.table, "makes_rows", False)
        assert isinstance(self.build().rows_VD, ComposedRows if makes_rows else Tensor)

    def test_has_a_row_for_each_item_and_one_of_zeros(self) -> None:
        """Row 0 is padding. Rows by their ids and slices of rows are the same rows."""
        rows_VD = self.build().rows_VD
        assert tuple(rows_VD.shape) == (NUM_ITEMS + 1, DIM)
        assert len(rows_VD) == NUM_ITEMS + 1
        whole_VD = rows_VD[0 : NUM_ITEMS + 1]
        assert not whole_VD[0].any()
        assert whole_VD[1:].any(1).all()
        ids = torch.tensor([5, 0, NUM_ITEMS, 5])
        assert torch.equal(rows_VD.index_select(0, ids), whole_VD[ids])
        assert torch.equal(rows_VD.detach()[7:20], whole_VD[7:20])

    def test_looks_up_its_rows(self) -> None:
        """What the encoder sees is what the loss scores with."""
        part = self.build()
        looked_up_BLD = part(IDS_BL)
        rows_MD = part.rows_VD.index_select(0, IDS_BL.flatten())
        assert looked_up_BLD.shape == (*IDS_BL.shape, DIM)
        assert torch.equal(looked_up_BLD.flatten(0, 1), rows_MD)

    def test_draws_the_same_numbers_from_the_same_generator(self) -> None:
        """Measuring moves the numbers, and training starts afresh."""
        part = self.build()
        first_VD = part.rows_VD[:].clone()
        part.reset(0.5, torch.Generator().manual_seed(0))
        assert torch.equal(part.rows_VD[:], first_VD)
        part.reset(0.5, torch.Generator().manual_seed(1))
        assert not torch.equal(part.rows_VD[:], first_VD)
        assert 0.4 < float(part.rows_VD[:].detach()[1:].std()) < 0.6

    def test_a_lookup_moves_what_it_looked_up_and_no_padding(self) -> None:
        """Whatever the way of the gradient: by autograd, or by `take_lookups`."""
        part = self.build()
        if hasattr(part, "keep_lookups"):
            part.keep_lookups()
        before_VD = part.rows_VD[:].detach().clone()
        part(IDS_BL).square().sum().backward()
        with torch.no_grad():
            if hasattr(part, "take_lookups"):
                for ids_M, grad_MD in part.take_lookups():
                    keep_M1 = (ids_M > 0).unsqueeze(1)
                    part.rows_VD.index_add_(0, ids_M, grad_MD * keep_M1, alpha=-0.1)
            else:
                for parameter in part.parameters():
                    parameter.sub_(0.1 * parameter.grad)
        moved_V = (part.rows_VD[:] != before_VD).any(1)
        assert moved_V[IDS_BL[IDS_BL > 0].long()].all()
        assert not moved_V[0]

    def test_is_in_its_state(self) -> None:
        """Checkpoints, best weights and kept models hold all of it."""
        part, other = self.build(), self.build(seed=1)
        other.load_state_dict(part.state_dict())
        assert torch.equal(other.rows_VD[:], part.rows_VD[:])
        held = {tensor.untyped_storage()._cdata for tensor in part.state_dict().values()}
        assert {each.untyped_storage()._cdata for each in tensors_of(part.rows_VD)} <= held

    def test_has_the_type_that_is_wanted_or_refuses_it(self) -> None:
        """A lookup is in float32 at least."""
        for dtype in (torch.bfloat16, torch.float64):
            try:
                part = self.build(dtype)
            except ValueError:
                continue
            assert part.rows_VD.dtype == dtype
            assert part(IDS_BL).dtype == torch.promote_types(dtype, torch.float32)

    def test_a_lookup_of_padding_is_zero(self) -> None:
        """And so is its row, by itself."""
        part = self.build()
        assert not part.rows_VD[0:1].any()
        assert not part(torch.zeros(2, 3, dtype=torch.int32)).any()
