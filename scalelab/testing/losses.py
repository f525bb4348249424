"""Test the laws of a loss, which the docstring of `scalelab.losses` states."""

from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from scalelab.losses import Loss, LossBatch, needs_popularity, own_scores
from scalelab.testing.loss_problem import (
    NUM_ITEMS,
    NUM_POSITIONS,
    Afresh,
    gradients,
    problem,
    ranks,
)

__all__ = ["LossContract"]


class LossContract:
    """Subclass it, call the class `Test...` and set `loss`; the rest says which laws concern it.

    A loss without one of the laws is no worse for it, but say so: each False skips tests.
    """

    loss: ClassVar[Any]
    # A position's part of the loss depends on nothing but itself and its negatives. Not so where
    # positions are sorted into buckets: a small change may move one to another bucket.
    each_position_alone: ClassVar[bool] = True
    # The padding row takes no part, not even in the choice of what is scored.
    blind_to_padding: ClassVar[bool] = True
    # The value is fp32 under bf16 autocast.
    value_is_float32: ClassVar[bool] = True
    # A gradient formed in the forward pass is spent by the first backward pass, and a second one
    # says so. False: torch's own autograd answers for it.
    gradient_in_forward: ClassVar[bool] = False

    @pytest.fixture
    def part(self) -> Loss:
        """The loss under test."""
        return self.loss() if isinstance(self.loss, type) else self.loss

    @pytest.fixture(params=["cpu", "cuda"])
    def device(self, request: pytest.FixtureRequest) -> str:
        """Each device in turn; a GPU only where one answers."""
        if request.param == "cuda" and not torch.cuda.is_available():
            pytest.skip("no CUDA GPU found")
        return request.param

    def _only_if(self, concerned: bool, why: str) -> None:
        if not concerned:
            pytest.skip(why)

    def test_says_what_it_needs(self, part: Loss) -> None:
        """`needs_negatives` is True or False, on the class."""
        assert type(part).needs_negatives in (True, False)

    def test_its_options_all_have_a_default(self, part: Loss) -> None:
        """A run names a loss before it names its options."""
        type(part)()

    def test_is_a_finite_scalar_with_finite_gradients(self, part: Loss, device: str) -> None:
        """And the hidden states get some."""
        value, grad_hidden_ND, grad_items_VD = gradients(part, *problem(device))
        assert value.shape == ()
        assert all(torch.isfinite(each).all() for each in (value, grad_hidden_ND, grad_items_VD))
        assert grad_hidden_ND.abs().sum() > 0

    def test_a_step_downhill_lowers_it(self, part: Loss, device: str) -> None:
        """By as much as the gradient says."""
        hidden_ND, items_VD, batch = problem(device, torch.float64)
        value, *steps = gradients(part, hidden_ND, items_VD, batch)
        size = 1e-4 / sum(step.norm() for step in steps)
        with torch.no_grad():
            again = problem(device, torch.float64)[2]
            lower = part(hidden_ND - size * steps[0], items_VD - size * steps[1], again)
        slope = (value - lower) / (size * sum(step.norm() ** 2 for step in steps))
        assert slope.item() == pytest.approx(1, rel=1e-2)

    def test_training_by_it_ranks_the_targets_higher(self, part: Loss) -> None:
        """By the scores that evaluation ranks with: its own, or the inner product."""
        hidden_ND, items_VD, batch = problem(dtype=torch.float64)
        before = ranks(part, hidden_ND, items_VD, batch)
        for _ in range(60):
            grad_ND = gradients(part, hidden_ND, items_VD, batch)[1]
            scale = grad_ND.norm(dim=1, keepdim=True).clamp_min(1e-12)
            with torch.no_grad():
                hidden_ND -= 0.1 * hidden_ND.norm(dim=1, keepdim=True) * grad_ND / scale
        assert ranks(part, hidden_ND, items_VD, batch).mean() < before.mean()

    def test_the_padding_row_has_no_part(self, part: Loss, device: str) -> None:
        """No gradient, and whatever it holds changes nothing."""
        hidden_ND, items_VD, batch = problem(device)
        value, _, grad_items_VD = gradients(part, hidden_ND, items_VD, batch)
        assert not grad_items_VD[0].any()
        if not self.blind_to_padding:  # there moving it moves the cuts
            return
        with torch.no_grad():
            items_VD[0] = 3
        assert torch.equal(value, part(hidden_ND, items_VD, problem(device)[2]).detach())

    def test_negatives_count_only_where_they_are_needed(self, part: Loss) -> None:
        """A run leaves them out where the loss says that it needs none."""
        self._only_if(not part.needs_negatives, "it needs negatives")
        hidden_ND, items_VD, batch = problem()
        value = part(hidden_ND, items_VD, batch)
        bare = problem()[2]
        assert torch.equal(value, part(hidden_ND, items_VD, replace(bare, negatives=())))

    def test_popularity_counts_only_where_it_is_needed(self, part: Loss) -> None:
        """A run leaves it out, unless the loss has a true `needs_popularity`."""
        self._only_if(not needs_popularity(part), "it needs popularity")
        hidden_ND, items_VD, batch = problem()
        value = part(hidden_ND, items_VD, batch)
        bare = replace(problem()[2], log_popularity_V=None)
        assert torch.equal(value, part(hidden_ND, items_VD, bare))

    def test_is_the_same_at_every_call(self, part: Loss, device: str) -> None:
        """To the bit: what it draws, it draws from the generator of the batch."""
        first = gradients(part, *problem(device))
        again = gradients(part, *problem(device))
        assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))

    def test_repeating_every_position_changes_nothing_but_the_mean(
        self, part: Loss, device: str
    ) -> None:
        """It is a mean over the positions."""
        self._only_if(self.each_position_alone, "it depends on the number of positions")
        hidden_ND, items_VD, batch = problem(device, torch.float64)
        value, _, grad_items_VD = gradients(part, hidden_ND, items_VD, batch)
        assert batch.sequence_N is not None
        own = batch.negatives[0]
        twice = replace(
            batch,
            targets_N=batch.targets_N.repeat(2),
            sequence_N=batch.sequence_N.repeat(2),
            negatives=(own._replace(ids=own.ids.repeat(2, 1)), *batch.negatives[1:]),
        )
        doubled, _, grad_doubled_VD = gradients(part, hidden_ND.repeat(2, 1), items_VD, twice)
        torch.testing.assert_close(doubled, value, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(grad_doubled_VD, grad_items_VD, rtol=1e-9, atol=1e-12)

    def test_without_gradients_the_value_is_the_same(self, part: Loss, device: str) -> None:
        """And has none."""
        hidden_ND, items_VD, batch = problem(device)
        value = part(hidden_ND, items_VD, batch)
        with torch.no_grad():
            bare = part(hidden_ND, items_VD, problem(device)[2])
        assert not bare.requires_grad
        torch.testing.assert_close(bare, value.detach())

    @pytest.mark.parametrize("frozen", ["hidden", "table"])
    def test_one_gradient_alone_is_the_same(self, part: Loss, device: str, frozen: str) -> None:
        """Where the model or its table does not learn."""
        _, *both = gradients(part, *problem(device))
        hidden_ND, items_VD, batch = problem(device)
        hidden_ND.requires_grad_(frozen != "hidden")
        items_VD.requires_grad_(frozen != "table")
        part(hidden_ND, items_VD, batch).backward()
        got, still, wanted = (
            (items_VD, hidden_ND, both[1]) if frozen == "hidden" else (hidden_ND, items_VD, both[0])
        )
        assert still.grad is None
        torch.testing.assert_close(got.grad, wanted)

    def test_under_autocast_it_is_near_and_keeps_types(self, part: Loss, device: str) -> None:
        """bf16 rounds products; gradients have the type of what they belong to."""
        value, *grads = gradients(part, *problem(device))
        hidden_ND, items_VD, batch = problem(device)
        with torch.autocast(device, dtype=torch.bfloat16):
            near = part(hidden_ND, items_VD, batch)
        near.backward()
        if self.value_is_float32:
            assert near.dtype == torch.float32
        assert hidden_ND.grad is not None
        assert items_VD.grad is not None
        assert hidden_ND.grad.dtype == items_VD.grad.dtype == torch.float32
        if not self.each_position_alone:  # rounding may move a position to another bucket
            return
        assert near.item() == pytest.approx(value.item(), rel=0.02)
        for grad, exact in ((hidden_ND.grad, grads[0]), (items_VD.grad, grads[1])):
            assert (grad - exact).norm() <= 0.05 * exact.norm()

    def test_takes_hidden_states_of_bfloat16_under_autocast(self, part: Loss, device: str) -> None:
        """A model's last layer may leave them so."""
        hidden_ND, items_VD, batch = problem(device)
        low_ND = hidden_ND.detach().bfloat16().requires_grad_()
        with torch.autocast(device, dtype=torch.bfloat16):
            part(low_ND, items_VD, batch).backward()
        assert low_ND.grad is not None
        assert items_VD.grad is not None
        assert low_ND.grad.dtype == torch.bfloat16
        assert items_VD.grad.dtype == torch.float32

    def test_runs_on_fake_tensors(self, part: Loss) -> None:
        """Tensors with shapes and no values: that is how memory is predicted."""
        hidden_ND, items_VD, batch = problem()
        mode = torch._subclasses.FakeTensorMode()

        def fake(tensor: Any) -> Tensor:
            return mode.from_tensor(tensor.detach())

        pretend = LossBatch(
            targets_N=fake(batch.targets_N),
            num_items=NUM_ITEMS,
            sequence_N=fake(batch.sequence_N),
            negatives=tuple(n._replace(ids=fake(n.ids)) for n in batch.negatives),
            log_popularity_V=fake(batch.log_popularity_V),
        )
        hidden_ND, items_VD = fake(hidden_ND).requires_grad_(), fake(items_VD).requires_grad_()
        with mode:
            value = part(hidden_ND, items_VD, pretend)
            value.backward()
        assert value.shape == ()
        assert hidden_ND.grad is not None
        assert items_VD.grad is not None
        assert (hidden_ND.grad.shape, items_VD.grad.shape) == (hidden_ND.shape, items_VD.shape)

    def test_a_second_backward_says_why_it_cannot_be(self, part: Loss, device: str) -> None:
        """Instead of a wrong gradient."""
        self._only_if(self.gradient_in_forward, "torch's own autograd answers for it")
        value = part(*problem(device))
        value.backward(retain_graph=True)
        with pytest.raises(RuntimeError, match="call the loss again"):
            value.backward()

    def test_gradients_are_those_of_small_differences(self, part: Loss, device: str) -> None:
        """`torch.autograd.gradcheck`, in double precision."""
        self._only_if(self.each_position_alone, "it jumps where a position changes its bucket")
        hidden_ND, items_VD, _ = problem(device, torch.float64)

        def value(hidden_ND: Tensor, items_VD: Tensor) -> Any:
            return Afresh.apply(hidden_ND, items_VD, part, device)

        inputs = (hidden_ND.detach().requires_grad_(), items_VD)
        assert torch.autograd.gradcheck(value, inputs, fast_mode=True)

    def test_its_scores_are_the_same_in_blocks(self, part: Loss) -> None:
        """Evaluation scores some users and some items at a time."""
        scores = own_scores(part)
        if scores is None:
            pytest.skip("it ranks by the inner product")
        hidden_ND, items_VD, _ = problem(dtype=torch.float64)
        with torch.no_grad():
            whole_NV = scores(hidden_ND, items_VD)
            assert whole_NV.shape == (NUM_POSITIONS, NUM_ITEMS + 1)
            for users, items in ((slice(0, 3), slice(1, 2)), (slice(9, 10), slice(7, 50))):
                some = scores(hidden_ND[users], items_VD[items])
                torch.testing.assert_close(some, whole_NV[users, items], rtol=1e-9, atol=1e-9)
