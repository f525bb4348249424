"""Every loss returns what the official code of its paper returned, with the same gradients."""

import os
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scalelab.core import plugins
from scalelab.losses import LossBatch, Negatives

FOLDER = Path(
    os.environ.get(
        "SCALELAB_ORACLE", Path(__file__).resolve().parents[3] / "shared" / "oracle" / "losses"
    )
)
CASES = sorted(path.stem for path in FOLDER.glob("*.npz"))


def make(name: str, **options):
    return plugins.load("losses", name)(**options)


def losses_of(kind: str, case) -> list:
    """Our losses that must return the case, with the options that say the same."""

    def given(name):
        return case[f"param_{name}"].item()

    # The official code keeps negatives that happen to be the target.
    match kind:
        case "ce":
            return [make(name, include_padding=True) for name in ("dense_ce", "cross_entropy")]
        case "bce":
            return [make("bce", remove_accidental_hits=False)]
        case "gbce_t75" | "gbce_t90":
            return [make("gbce", t=given("gbce_t"), remove_accidental_hits=False)]
        case "sampled_ce" | "tron_ssm" | "gru4rec_xe":
            return [make("sampled_softmax", remove_accidental_hits=False)]
        case "tron_ssm_top":
            return [make("sampled_softmax", top_k=6, remove_accidental_hits=False)]
        case "tron_bce":
            return [make("bce", reduction="balanced", remove_accidental_hits=False)]
        case "tron_bprmax":
            return [make("bpr_max", reg=given("bpr_reg"), remove_accidental_hits=False)]
        case "gru4rec_xe_logq":
            return [make("sampled_softmax", logq=given("logq"), remove_accidental_hits=False)]
        case "gru4rec_bprmax" | "gru4rec_bprmax_noelu":
            options = {"reg": given("bpreg"), "elu": given("elu_param")}
            return [make("bpr_max", **options, remove_accidental_hits=False)]
        case "rece":
            keys = ("rounds", "n_extra_chunks", "n_buckets", "n_chunks")
            return [make("rece", **{key: given(key) for key in keys})]
        case "sce":
            keys = ("n_buckets", "bucket_size_x", "bucket_size_y", "mix_x")
            return [make("sce", **{key: given(key) for key in keys})]
    raise AssertionError(f"no loss of ours for the oracle's {kind}")


def batch_of(case) -> LossBatch:
    targets_N = torch.tensor(case["targets"])
    fields = {
        "targets_N": targets_N,
        "num_items": len(case["items"]) - 1,
        "pad_id": case["padding_idx"].item(),
        "given": {},
    }
    if "negatives" in case:
        fields["negatives"] = (Negatives("position", torch.tensor(case["negatives"])),)
    if "extra_negatives" in case:
        # GRU4Rec: the other targets of the minibatch, then the ones drawn for all of it.
        num = len(targets_N)
        others = targets_N.expand(num, num)[~torch.eye(num, dtype=torch.bool)].view(num, num - 1)
        extra = torch.tensor(case["extra_negatives"])
        fields["negatives"] = (
            Negatives("position", others, 1.0),
            Negatives("batch", extra, case["param_sample_alpha"].item()),
        )
        popularity_V = torch.tensor(case["popularity"]).float()
        fields["log_popularity_V"] = popularity_V.clamp(min=1e-9).log()
    if "buckets" in case:
        fields["given"] = {"buckets": torch.tensor(case["buckets"])}
    if "random" in case:
        scale = float(case["param_random_scale"])
        fields["given"] = {"random": torch.tensor(case["random"]) * scale}
    return LossBatch(**fields)


def moved(batch: LossBatch, device: str) -> LossBatch:
    """The batch with all its tensors on the device."""
    changes = {
        each.name: getattr(batch, each.name).to(device)
        for each in fields(batch)
        if isinstance(getattr(batch, each.name), torch.Tensor)
    }
    changes["negatives"] = tuple(n._replace(ids=n.ids.to(device)) for n in batch.negatives)
    changes["given"] = {key: value.to(device) for key, value in batch.given.items()}
    return replace(batch, **changes)


@pytest.mark.skipif(not CASES, reason=f"no oracle in {FOLDER}; set SCALELAB_ORACLE")
@pytest.mark.parametrize("name", CASES or ["none"])
def test_equals_the_official_code(name, device):
    with np.load(FOLDER / f"{name}.npz") as arrays:
        case = {key: arrays[key] for key in arrays.files}
    for loss in losses_of(name.rpartition("_")[0], case):
        hidden_ND = torch.tensor(case["hidden"]).to(device).requires_grad_()
        items_VD = torch.tensor(case["items"]).to(device).requires_grad_()
        value = loss(hidden_ND, items_VD, moved(batch_of(case), device))
        value.backward()
        assert value.item() == pytest.approx(case["loss"].item(), rel=1e-5)
        for ours, theirs in ((hidden_ND.grad, "grad_hidden"), (items_VD.grad, "grad_items")):
            wanted = torch.tensor(case[theirs])
            assert (ours.cpu() - wanted).norm() <= 1e-5 * wanted.norm(), (loss, theirs)
