"""What operations hold for themselves, found by trying them on zeros."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC2701

from scalelab.measure import trials
from scalelab.measure.scratch import observed
from scalelab.measure.trials import NOTHING_INSIDE, Trials

aten = torch.ops.aten


def _calls() -> dict[str, tuple]:
    scores, ids = torch.randn(400, 300), torch.randint(0, 300, (400,))
    logs = scores.log_softmax(1)
    total = torch.tensor(400.0)
    rows = ids.unsqueeze(1).expand(400, 5).contiguous()
    norm = torch.ones(300)
    return {
        "_log_softmax": (aten._log_softmax.default, scores, 1, False),
        "_log_softmax_backward_data": (
            *(aten._log_softmax_backward_data.default, scores, logs, 1, torch.float32),
        ),
        "_softmax": (aten._softmax.default, scores, 1, False),
        "_softmax_backward_data": (
            *(aten._softmax_backward_data.default, scores, logs.exp(), 1, torch.float32),
        ),
        "nll_loss_forward": (aten.nll_loss_forward.default, logs, ids, None, 1, -100),
        "nll_loss_backward": (
            *(aten.nll_loss_backward.default, torch.ones(()), logs, ids, None, 1, -100, total),
        ),
        "embedding": (aten.embedding.default, scores, ids),
        "index_select": (aten.index_select.default, scores, 0, ids % 400),
        "gather": (aten.gather.default, scores, 1, rows),
        "cat": (aten.cat.default, [scores, scores]),
        "stack": (aten.stack.default, [scores, scores]),
        "clone": (aten.clone.default, scores),
        "copy_": (aten.copy_.default, scores.clone(), scores.T.contiguous().T),
        "_to_copy": (aten._to_copy.default, scores.T),
        "fill_": (aten.fill_.Scalar, scores.clone(), 1.0),
        "zero_": (aten.zero_.default, scores.clone()),
        "native_layer_norm": (aten.native_layer_norm.default, scores, [300], norm, norm, 1e-5),
    }


@pytest.mark.parametrize("name", sorted(NOTHING_INSIDE))
def test_what_is_believed_to_hold_nothing_holds_nothing(name: str) -> None:
    func, *args = _calls()[name]
    # Copying a transposed matrix takes a tile of 14 kB whatever the size.
    assert observed(func, tuple(args), {})[1] < 16 * 1024


def test_a_trial_finds_what_is_observed_and_touches_no_random_state() -> None:
    image, kernel = torch.randn(4, 3, 20, 20), torch.randn(8, 3, 3, 3)
    options = None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1
    cases = {
        aten.convolution.default: (image, kernel, *options),
        aten.topk.default: (torch.randn(50, 900), 10),
        aten.bernoulli_.float: (torch.zeros(1000), 0.1),
        aten.cumsum.default: (torch.randn(30, 40), 0),
    }
    state = torch.get_rng_state()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        for func, args in cases.items():
            fakes = [mode.from_tensor(a) if isinstance(a, torch.Tensor) else a for a in args]
            tries = Trials()
            result, held = tries.run(func, tuple(fakes), {})
            assert not tries.reasons
            cases[func] = args, held, result
    assert torch.equal(torch.get_rng_state(), state)
    for func, (args, held, _) in cases.items():
        assert observed(func, args, {})[1] == held


def test_what_is_too_large_or_cannot_run_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = Trials()
    monkeypatch.setattr(trials, "_MOST_BYTES", 1000)
    with FakeTensorMode():
        large = torch.empty(500)
        assert tries.run(aten.clone.default, (large,), {})[1] == 0
        assert not tries.reasons
        tries.run(aten.topk.default, (large, 5), {})
        assert "was not tried" in next(iter(tries.reasons))
        small = torch.empty(3, 3)
        tries.run(aten.linalg_inv_ex.default, (small,), {"check_errors": True})
    assert any("cannot be tried" in reason for reason in tries.reasons)


def test_an_operation_in_place_that_turns_its_argument_is_tried_as_it_was() -> None:
    tries = Trials()
    with FakeTensorMode():
        turned = torch.empty(3, 5)
        result, _ = tries.run(aten.transpose_.default, (turned, 0, 1), {})
        assert result.shape == (5, 3)
    assert not tries.reasons
