"""Scores in panels are those of one product, and what is taken out is taken out of its panel."""

import pytest
import torch

from scalelab.core.errors import SpecError
from scalelab.train.score_panels import ScorePanels

USERS, ROWS, DIM = 3, 23, 4


@pytest.fixture
def made():
    draw = torch.Generator().manual_seed(0)
    table, hidden = (torch.randn(n, DIM, generator=draw).double() for n in (ROWS, USERS))
    wanted = hidden @ table.T
    wanted[:, 0] = -torch.inf
    return table, hidden, wanted


def side_by_side(panels, hidden):
    return torch.cat([scores.clone() for _, scores in panels.panels(hidden)], 1)


def test_with_space_for_all_there_is_one_panel(made):
    table, hidden, wanted = made
    panels = ScorePanels(table, None, users=USERS, numbers=USERS * ROWS)
    assert panels.is_one
    found = panels.whole(hidden)
    torch.testing.assert_close(found[:, :ROWS], wanted, rtol=0, atol=1e-12)
    assert (found[:, ROWS:] == -torch.inf).all()


@pytest.mark.parametrize("columns", [1, 2, 5, 22])
def test_panels_are_the_whole_without_padding_and_beyond_the_catalog(made, columns):
    table, hidden, wanted = made
    panels = ScorePanels(table, None, users=USERS, numbers=USERS * columns)
    assert panels.columns >= columns
    assert panels.columns % panels.chunk == 0
    found = side_by_side(panels, hidden)
    torch.testing.assert_close(found[:, :ROWS], wanted, rtol=0, atol=1e-12)
    assert (found[:, ROWS:] == -torch.inf).all()


def test_a_panel_takes_out_its_own_items_only(made):
    table, hidden, wanted = made
    rows, items = torch.tensor([0, 1, 2, 2]), torch.tensor([3, 11, 6, 22])
    panels = ScorePanels(table, None, users=USERS, numbers=USERS * 6)
    assert not panels.is_one
    found = []
    for first, scores in panels.panels(hidden):
        panels.take_out(rows, items, first)
        found.append(scores.clone())
    wanted[rows, items] = -torch.inf
    torch.testing.assert_close(torch.cat(found, 1)[:, :ROWS], wanted, rtol=0, atol=1e-12)


def test_the_scores_of_a_loss_count_and_must_have_a_column_for_each_item(made):
    table, hidden, _ = made
    doubled = ScorePanels(table, lambda h, w: 2 * h @ w.T, users=USERS, numbers=USERS * 6)
    wanted = 2 * hidden @ table.T
    found = side_by_side(doubled, hidden)[:, :ROWS]
    torch.testing.assert_close(found[:, 1:], wanted[:, 1:], rtol=0, atol=1e-12)
    wrong = ScorePanels(table, lambda h, w: (h @ w.T)[:, 1:], users=USERS, numbers=USERS * 6)
    with pytest.raises(SpecError, match=r"shape \(3, \d+\) for 3 hidden states"):
        side_by_side(wrong, hidden)
