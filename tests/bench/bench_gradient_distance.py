"""Trained weights and one batch in, how far each loss's gradient is from that of exact CE out.

Run with `python tests/bench/bench_gradient_distance.py PROFILE [--epochs N] [--set KEY=VALUE ...]
[--losses NAME:KEY=VALUE,...@KEY=VALUE,... ...]`: trains the profile, takes the first batches of
three later epochs, prints a Markdown table. What stands behind an @ describes the negatives, else
256 uniform ones a position. Random weights flatter every approximation, so `--epochs 0` is for
trying out only.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scalelab.core import plugins
from scalelab.core.spec import NegativesSpec, RunSpec
from scalelab.losses import Loss, LossBatch
from scalelab.losses.cross_entropy import CrossEntropy
from scalelab.train import assemble as parts
from scalelab.train.step import hidden_of, loss_batch

NEGATIVES = 256
LOSSES = [
    "cross_entropy",
    "rece:rounds=1,n_extra_chunks=1",
    "rece:rounds=4,n_extra_chunks=1",
    "rece:rounds=1,n_extra_chunks=4",
    "rece:rounds=4,n_extra_chunks=4",
    'rece:rounds=1,n_extra_chunks=1,n_buckets="paper"',
    'rece:rounds=4,n_extra_chunks=4,n_buckets="paper"',
    "sce",
    "sce:mix_x=true",
    "sampled_softmax",
    'sampled_softmax:logq=1.0@name="popularity",num_negatives=4096,per="batch",exponent=0.5',
    'sampled_softmax:top_k=100@num_negatives=4096,per="batch"',
    "bce",
    "gbce",
]


class Distance(NamedTuple):
    """|g - exact| / |exact| and cosine of the two, for the hidden states and the item table."""

    hidden_error: float
    hidden_cosine: float
    table_error: float
    table_cosine: float


def gradients(loss: Loss, hidden_ND: Tensor, table_VD: Tensor, batch: LossBatch) -> list[Tensor]:
    """Gradients of one loss, (N, D) and (V, D); those that the inputs hold stay as they are."""
    inputs = [hidden_ND.detach().requires_grad_(), table_VD.detach().requires_grad_()]
    return list(torch.autograd.grad(loss(*inputs, batch), inputs))


def gradient_distance(
    loss: Loss, hidden_ND: Tensor, table_VD: Tensor, batch: LossBatch, exact: list[Tensor]
) -> Distance:
    """How far the gradients of `loss` are from `exact`, as `gradients` gives them."""
    found: list[float] = []
    for mine, truth in zip(gradients(loss, hidden_ND, table_VD, batch), exact, strict=True):
        found.append(((mine - truth).norm() / truth.norm()).item())
        found.append(torch.cosine_similarity(mine.flatten(), truth.flatten(), dim=0).item())
    return Distance(*found)


def read(text: str) -> tuple[str, dict[str, Any], NegativesSpec]:
    """`bce@num_negatives=4` to a name, its options and its negatives."""
    loss, _, drawn = text.partition("@")
    name, _, rest = loss.partition(":")
    source = {"num_negatives": NEGATIVES} | _options(drawn)
    return name, _options(rest), NegativesSpec.model_validate(source).resolved()


def _options(text: str) -> dict[str, Any]:
    pairs = (pair.split("=", 1) for pair in text.split(",") if pair)
    return {key: json.loads(value) for key, value in pairs}


def trained(spec: RunSpec, epochs: int) -> Callable[[str], Distance]:
    """Train once; afterwards each loss's distance, the mean of three batches and draws."""
    trainer = parts.assemble(spec)
    for epoch in range(epochs):
        with trainer.randomness(epoch):
            for number, batch in enumerate(trainer.loader.epoch(epoch)):
                trainer.step(trainer.to_device(batch), epoch, number)
    trainer.parts.model.eval()
    table_VD = trainer.parts.model.item_table_VD.detach()  # pyright: ignore

    def distance(text: str) -> Distance:
        name, options, source = read(text)
        loss = plugins.load("losses", name)(**options)
        loader = type(trainer.loader)(
            trainer.data.split.train,
            num_items=trainer.parts.num_items,
            batch=spec.batch,
            negatives=(source,),
            seed=spec.train.seed,
        )
        found = []
        for later in range(3):
            batch = trainer.to_device(loader.batch(epochs + later, 0))
            with torch.no_grad():
                hidden_ND = hidden_of(trainer.parts, batch)
            at_hand = loss_batch(trainer.parts, batch)
            exact = gradients(CrossEntropy(), hidden_ND, table_VD, at_hand)
            generator = torch.Generator(hidden_ND.device).manual_seed(later)
            drawn = replace(at_hand, generator=generator)
            found.append(gradient_distance(loss, hidden_ND, table_VD, drawn, exact))
        return Distance(*(sum(column) / len(found) for column in zip(*found, strict=True)))

    return distance


def main() -> None:
    """Read the command line, train, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--set", nargs="*", default=[], dest="changes")
    parser.add_argument("--losses", nargs="*", default=LOSSES)
    given = parser.parse_args()
    changes: dict[str, Any] = dict(pair.split("=", 1) for pair in given.changes)
    distance = trained(RunSpec.load(given.profile, changes), given.epochs)
    print("| loss | hidden: relative error | cosine | table: relative error | cosine |")
    print("| --- | --- | --- | --- | --- |")
    for text in given.losses:
        print(f"| `{text}` | " + " | ".join(f"{value:.3f}" for value in distance(text)) + " |")


if __name__ == "__main__":
    main()
