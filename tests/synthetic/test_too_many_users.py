"""Generated data that do not fit into this machine's memory are refused before they are drawn."""

import pytest

from scalelab.core.errors import SpecError
from scalelab.synthetic import model
from scalelab.synthetic.model import Synthetic


@pytest.mark.parametrize(
    ("memory", "refused", "of"),
    [
        (95_999, ("lengths", "generate"), "lengths of histories"),
        (96_001, ("generate",), "histories of 20 items"),
        (200_000, (), ""),
        (None, (), ""),
    ],
)
def test_users_that_do_not_fit_into_memory_are_refused(monkeypatch, memory, refused, of):
    monkeypatch.setattr(model, "host_bytes", lambda: memory)
    data = Synthetic(num_users=1000, num_items=500)
    for name in ("lengths", "generate"):
        if name not in refused:
            getattr(data, name)()
            continue
        with pytest.raises(SpecError, match="1000 ") as caught:
            getattr(data, name)()
        assert "lower data.num_users" in caught.value.hint
    if refused:
        with pytest.raises(SpecError, match=of):
            getattr(data, refused[0])()


def test_items_in_a_file_need_no_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(model, "host_bytes", lambda: 100_000)
    data = Synthetic(num_users=1000, num_items=500)
    assert data.generate(tmp_path).num_users == 1000
