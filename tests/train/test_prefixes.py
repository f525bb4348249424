"""Every prefix as a sample: what predicts a target in training is what ranks for it afterwards."""

import numpy as np
import pytest
import torch

from scalelab.batches.histories import history_batches
from scalelab.datasets.interactions import Histories
from scalelab.measure.session import run
from scalelab.models import EncoderInput
from scalelab.planning.predict import predict
from scalelab.train.assemble import assemble
from scalelab.train.step import hidden_of

FEW = {"data.num_users": 60}


def states_at_inference(trainer, prefixes):
    """The state that ranks for each history, as evaluation makes it, by user and length."""
    starts = np.array([start for _, start, _ in prefixes], np.int64)
    ends = np.array([end for _, _, end in prefixes], np.int64)
    histories = Histories(item_ids=trainer.data.interactions.item_ids, starts=starts, ends=ends)
    found = {}
    for batch in history_batches(histories, packer="pad_left", max_len=12, size=64):
        inputs = EncoderInput(
            batch.item_ids_BL, batch.segments_BL, batch.positions_BL, len(batch.last_S)
        )
        states = trainer.parts.model(inputs).flatten(0, 1)[batch.last_S]
        for n, state in zip(batch.users_S.tolist(), states, strict=True):
            user, start, end = prefixes[n]
            found[user, end - start] = state
    return found


@torch.no_grad()
@pytest.mark.parametrize("align", ["start", "end"])
@pytest.mark.parametrize("packer", ["prefixes", "first_fit"])
def test_the_state_of_a_target_is_that_of_the_same_history_at_inference(small, packer, align):
    trainer = assemble(small(FEW | {"batch.packer": packer, "model.align": align}))
    trainer.parts.model.double().eval()
    train = trainer.loader._catalog
    prefixes = [
        (user, int(start), at)
        for user, (start, end) in enumerate(zip(train.starts, train.ends, strict=True))
        for at in range(start + 1, end)
    ]
    wanted = states_at_inference(trainer, prefixes)
    targets = {(u, end - start): int(train.items[end]) for u, start, end in prefixes}
    differences, met = [], set()
    plan = trainer.loader.plan(0)
    for step, batch in enumerate(trainer.loader.epoch(0)):
        states = hidden_of(trainer.parts, batch)
        first = step * trainer.loader.size
        for n, s in enumerate(batch.sequence_N.tolist()):
            user = int(batch.users_S[s])
            after = 0 if plan.after is None else int(plan.after[first + s])
            place = int(batch.positions_BL.flatten()[batch.valid_N[n]])
            history = int(train.ends[user] - train.starts[user]) - after
            length = history - int(plan.counts[first + s]) + place
            assert targets[user, length] == int(batch.targets_N[n])
            differences.append(float((states[n] - wanted[user, length]).abs().max()))
            met.add((user, length))
    if packer == "prefixes":
        assert met == set(targets)  # the number of samples is that of training targets
        assert len(differences) == len(targets)
        assert max(differences) < 1e-10
    else:  # what the packer is for
        assert max(differences) > 0.01


@pytest.mark.slow
def test_steps_and_bytes_are_predicted_and_training_learns(small):
    spec = small(FEW | {"batch.packer": "prefixes", "batch.size": 128, "train.epochs": 2})
    record = run(spec, run_id="r", strict=True)
    measured = {(m.stage, m.component): m.bytes for m in record.memory if m.kind == "requested"}
    predicted = predict(spec)
    assert predicted.memory["requested"]["total"] == measured["train", "total"]
    assert predicted.evaluation["requested"]["total"] == measured["eval", "total"]
    assert abs(record.run.account_error or 0.0) <= 0.001
    train = assemble(spec).data.split.train
    targets = int(np.maximum(train.lengths - 1, 0).sum())
    assert predicted.steps_per_epoch == -(-targets // 128)
    losses = [m.value for m in record.metrics if (m.split, m.name) == ("train", "loss")]
    assert losses[-1] < losses[0]
    whole = predict(small(FEW | {"batch.packer": "best_fit", "batch.size": 128}))
    assert predicted.steps_per_epoch > 5 * whole.steps_per_epoch


def test_a_training_that_was_interrupted_goes_on_with_the_same_prefixes(small, tmp_path):
    spec = small(FEW | {"batch.packer": "prefixes", "batch.size": 128, "train.epochs": 2})
    whole = assemble(spec).fit()
    assemble(spec).fit(stop=lambda: True, keep=tmp_path)
    resumed = assemble(spec).fit(keep=tmp_path)
    assert resumed.history == whole.history
