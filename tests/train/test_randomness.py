"""Dropout and sampled losses draw anew in every epoch, and alike in every run of one seed."""

from collections.abc import Callable
from typing import Any

import torch

from scalelab.train.assemble import assemble


def _draws(trainer: Any, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A mask as dropout draws it, and numbers as a loss draws them from its own generator."""
    with trainer.randomness(epoch):
        mask = torch.nn.functional.dropout(torch.ones(1000), 0.5)
        generator = trainer.parts.generator or torch.default_generator
        return mask, torch.randn(1000, generator=generator)


def test_no_two_epochs_have_the_same_dropout(small: Callable[..., Any]) -> None:
    trainer = assemble(small({"loss.name": "rece"}))
    first, second, again = (_draws(trainer, epoch) for epoch in (0, 1, 0))
    for of_first, of_second, of_again in zip(first, second, again, strict=True):
        assert not torch.equal(of_first, of_second)
        assert torch.equal(of_first, of_again)


def test_another_seed_draws_otherwise_and_the_process_does_not_notice(
    small: Callable[..., Any],
) -> None:
    state = torch.get_rng_state()
    one = _draws(assemble(small({"loss.name": "rece"})), 0)
    two = _draws(assemble(small({"loss.name": "rece", "train.seed": 1})), 0)
    assert not torch.equal(one[0], two[0])
    assert not torch.equal(one[1], two[1])
    assert torch.equal(state, torch.get_rng_state())


def test_training_draws_dropout_by_its_own_epoch(small: Callable[..., Any]) -> None:
    """The epochs that the trainer asks for are those that it is in, in order."""
    trainer = assemble(small({"train.epochs": 3, "train.patience": 0}))
    asked: list[int] = []
    plain = trainer.randomness
    trainer.randomness = lambda epoch: (asked.append(epoch), plain(epoch))[1]  # pyright: ignore
    trainer.fit(lambda: False)
    assert asked == [0, 1, 2]
