"""Make a trainer with all its parts from a spec: the one place that knows parts by name."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from scalelab.batches.loader import Loader
from scalelab.core import plugins
from scalelab.core.errors import SpecError
from scalelab.core.item_attributes import attributes_file
from scalelab.core.locating import locate
from scalelab.core.spec import ItemTableSpec, RunSpec
from scalelab.datasets.ahead import ahead_targets
from scalelab.datasets.clock import clock_of
from scalelab.losses import needs_popularity, own_scores
from scalelab.models import objective_of
from scalelab.models.tables import making
from scalelab.models.users import num_users_are
from scalelab.ranking.earlier import earlier_targets
from scalelab.train.baselines import popularity_metrics
from scalelab.train.data import Data, load_data
from scalelab.train.evaluate import Evaluator
from scalelab.train.item_attributes import load_attributes
from scalelab.train.optimizers.build import build_optimizers
from scalelab.train.pretraining import attributes_of, check_pretraining, pretraining_of
from scalelab.train.step import Parts
from scalelab.train.trainer import Trainer

__all__ = [
    "Data",
    "assemble",
    "build_parts",
    "evaluator_of",
    "load_data",
    "mask_last_prob",
    "mask_prob",
]


def build_parts(
    spec: RunSpec,
    num_items: int,
    log_popularity: Callable[[], np.ndarray] | None = None,
    seed: int | None = None,
    *,
    num_users: int = 0,
    log_shares: Callable[[], tuple[np.ndarray | None, ...]] = tuple,
    attributes_VM: np.ndarray | None = None,
) -> Parts:
    """Model, loss and optimizer on the spec's device; works under fake tensors too.

    `num_users` are those of the training data, for a model with a table of users.
    `log_popularity` and `log_shares` are called where the loss needs them. `seed` None
    leaves weights to torch's own generator, which is all that fake tensors can use. Without
    `attributes_VM` no item has attributes, whatever the run's file says.
    """
    device = torch.device(spec.device.name)
    draw = None if seed is None else torch.Generator(device).manual_seed(seed)
    check_pretraining(spec)
    with num_users_are(num_users):
        model = _built_model(spec, num_items, device, draw)
    if attributes_VM is not None:
        model.item_attributes_VM.copy_(torch.from_numpy(attributes_VM))
    if spec.train.compile:
        if not callable(getattr(model, "encode", None)):
            message = f"{locate('models', spec.model.name)} has no `encode` that could be compiled"
            raise SpecError(message, "write train.compile = false")
        model.encode = torch.compile(model.encode, dynamic=True)
    loss = plugins.made("losses", spec.loss.name, **spec.loss.options)
    log_popularity_V, shares = None, ()
    if log_popularity is not None and needs_popularity(loss):
        log_popularity_V = torch.from_numpy(log_popularity()).to(device)
        shares = tuple(
            None if each is None else torch.from_numpy(each).to(device) for each in log_shares()
        )
    optimizer, table = build_optimizers(model, spec.train)
    return Parts(
        model=model,
        loss=loss,
        optimizer=optimizer,
        table=table,
        clip_norm=spec.train.clip_norm,
        num_items=num_items,
        log_popularity_V=log_popularity_V,
        log_shares=shares,
        generator=None if seed is None else torch.Generator(device).manual_seed(seed),
        bf16=spec.train.precision == "bf16",
        accumulate=spec.train.accumulate,
    )


def _built_model(
    spec: RunSpec, num_items: int, device: torch.device, draw: torch.Generator | None
) -> Any:
    model_class, table_class = (
        plugins.load(kind, name)
        for kind, name in (("models", spec.model.name), ("tables", spec.table.name))
    )
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[spec.model.table_dtype]

    def make_table(num_items: int, hidden_dim: int) -> nn.Module:
        options = spec.table.options
        try:
            return table_class(num_items=num_items, hidden_dim=hidden_dim, dtype=dtype, **options)
        except ValueError as error:
            raise SpecError(f"item table {spec.table.name!r}: {error}") from error

    seeded = [device] if device.type == "cuda" else []
    try:
        # Layers draw weights of their own before ours; that must not move the process's generator.
        with (
            torch.random.fork_rng(devices=seeded),
            torch.device(device),
            making(make_table) as made,
        ):
            model = model_class(
                num_items=num_items,
                max_len=spec.batch.max_len,
                generator=draw,
                **spec.model.options,
            )
            file = attributes_file(spec.data, spec.model)
            if file is not None:
                sizes = load_attributes(file)
                model.take_attributes(sizes.num_attributes, sizes.most, draw)
    except ValueError as error:
        raise SpecError(f"model {spec.model.name!r}: {error}") from error
    if not made.is_made and (spec.table != ItemTableSpec() or spec.model.table_dtype != "fp32"):
        raise SpecError(
            f"{locate('models', spec.model.name)} makes its item table itself, a full one in fp32",
            'leave out [table] and model.table_dtype, or make it with "item_table" of '
            "scalelab.models.tables",
        )
    return model


def evaluator_of(spec: RunSpec, num_items: int) -> Evaluator:
    """Ranks as the spec requests."""
    return Evaluator(
        num_items=num_items,
        max_len=spec.batch.max_len,
        exclude_seen=spec.data.exclude_seen,
        masked=mask_prob(spec) > 0.0,
        ks=spec.evaluate.ks,
        scores=own_scores(plugins.made("losses", spec.loss.name, **spec.loss.options)),
    )


def mask_prob(spec: RunSpec) -> float:
    """The share of items that are masked, 0 for a model whose objective is the next item."""
    objective = objective_of(plugins.load("models", spec.model.name))
    if objective == "next":
        return 0.0
    share = spec.model.options.get("mask_prob")
    if objective != "masked" or not isinstance(share, float):
        place = locate("models", spec.model.name)
        message = f"{place}: its objective is {objective!r}, and its option mask_prob is {share!r}"
        hint = 'write objective = "next", or "masked" and an option mask_prob such as 0.2'
        raise SpecError(message, hint)
    return share


def mask_last_prob(spec: RunSpec) -> float:
    """How often the last item of a sequence is masked alone; 0 where a model has no such option."""
    return float(spec.model.options.get("mask_last_prob", 0.0)) if mask_prob(spec) else 0.0


def assemble(spec: RunSpec, data: Data | None = None) -> Trainer:
    """A trainer ready to fit. Raises SpecError or DataError before anything large is allocated."""
    spec.check_sources()
    data = load_data(spec) if data is None else data
    num_items = data.interactions.num_items
    evaluator = replace(evaluator_of(spec, num_items), trained=data.split.train)
    loader = Loader(
        data.split.train,
        num_items=num_items,
        batch=spec.batch,
        negatives=spec.negatives,
        seed=spec.train.seed,
        train_on=spec.loss.train_on,
        mask_prob=mask_prob(spec),
        mask_last_prob=mask_last_prob(spec),
        clock=clock_of(data.interactions),
    )
    parts = build_parts(
        spec,
        num_items,
        lambda: loader.log_popularity,
        seed=spec.train.seed,
        num_users=len(data.split.train),
        log_shares=loader.log_shares,
        attributes_VM=attributes_of(spec, data.interactions),
    )
    rows = data.split.test.evaluated(spec.data.max_eval_users)
    earlier = earlier_targets(
        data.interactions,
        data.split,
        rows=rows,
        positions=spec.evaluate.positions,
        test_items=spec.data.test_items,
    )
    return Trainer(
        spec=spec,
        earlier=earlier,
        ahead=ahead_targets(data.interactions, data.split, rows, spec.evaluate.steps_ahead),
        parts=parts,
        loader=loader,
        data=data,
        evaluator=evaluator,
        pretraining=pretraining_of(spec, data),
        popularity=popularity_metrics(data.split, data.split.valid, spec.data, spec.evaluate.ks)[
            spec.evaluate.metric
        ],
    )
