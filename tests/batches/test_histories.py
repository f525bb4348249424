"""Evaluation sees the last `max_len` items of every history, once, whatever the packer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelab.batches.histories import history_batches
from scalelab.core import plugins
from scalelab.core.errors import SpecError


@pytest.mark.parametrize("packer", plugins.available("packers"))
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_every_history_is_seen_once(packer, make, data):
    problem = data.draw(make.problems())
    seen = {}
    for batch in history_batches(
        problem.histories, packer=packer, max_len=problem.max_len, size=problem.size
    ):
        assert len(batch.users_S) <= problem.size
        ids, segments = batch.item_ids_BL.numpy(), batch.segments_BL.numpy()
        assert ids.shape[1] == problem.max_len
        assert ((ids > 0) == (segments > 0)).all()
        for s, (user, last) in enumerate(zip(batch.users_S.tolist(), batch.last_S, strict=True)):
            rows, columns = np.nonzero(segments == s + 1)
            assert len(set(rows)) == 1
            assert last == rows[0] * problem.max_len + columns[-1]
            positions = batch.positions_BL.numpy()[rows, columns]
            assert positions.tolist() == list(range(len(columns)))
            assert user not in seen
            seen[user] = ids[rows, columns].tolist()
    wanted = {u: s[-problem.max_len :] for u, s in enumerate(problem.sequences) if s}
    assert seen == wanted
    assert list(seen) == sorted(seen)


def test_an_unknown_packer_is_refused(make):
    with pytest.raises(SpecError, match="worst_fit"):
        next(history_batches(make.histories_of([[1]]), packer="worst_fit", max_len=2, size=2))
