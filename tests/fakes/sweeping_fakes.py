"""Quick runs that behave as badly as real ones can; `data.path` says how. Needs no torch."""

import ctypes
import math
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace

from scalelab.core.events import Progress
from scalelab.core.identity import RESULTS_VERSION
from scalelab.core.records import Baseline, Memory, Metric, Outcome, Record, Run
from scalelab.workers.task import utc_now

MIB = 2**20
MARK = "SCALELAB_TEST_MARK"


def progress(task, phase, epoch, metric=None):
    return Progress(
        run_id=task.run_id,
        phase=phase,
        epoch=epoch,
        epochs=task.spec.train.epochs,
        step=1,
        num_steps=1,
        loss=1.0,
        metric=metric,
        best_metric=metric,
        popularity=None,
        used_bytes=None,
        tokens_per_s=None,
    )


def quality(spec, epoch):
    """A number that the spec alone decides, and that improves with the epochs."""
    size = math.log2(spec.batch.size) + 0.01 * spec.train.seed
    return (1 - 0.5**epoch) * (0.5 + 0.4 * math.sin(size))


def run(task, report, stop):
    """Epochs of `learning_rate` seconds each; then, or on the way, what `data.path` asks for."""
    started = utc_now()
    spec = task.spec
    valid = []
    for epoch in range(1, spec.train.epochs + 1):
        report(progress(task, "train", epoch))
        time.sleep(spec.train.learning_rate)
        report(progress(task, "evaluate", epoch))
        value = quality(spec, epoch)
        valid.append(Metric(split="valid", epoch=epoch, name="ndcg", k=10, value=value))
        report(progress(task, "evaluate", epoch, value))
        report(progress(task, "train", epoch, value))
        if epoch == 2 and spec.data.path == "nan":
            return finished_record(task, Outcome.DIVERGED, started, valid, epoch)
        if epoch == 2:
            misbehave(spec.data.path)
        asked = stop()
        if asked:
            return finished_record(task, asked, started, valid, epoch)
    valid.append(replace(valid[-1], split="test"))
    return finished_record(task, Outcome.DONE, started, valid, spec.train.epochs)


def finished_record(task, outcome, started, metrics, epochs):
    memory = Memory(
        stage="train",
        kind="requested",
        component="total",
        bytes=1000 * task.spec.batch.size,
        reason=None,
        source="measured",
    )
    row = {field.name: None for field in fields(Run)}
    row |= {
        "run_id": task.run_id,
        "study_id": task.study_id,
        "fingerprint": task.fingerprint,
        "attempt": task.attempt,
        "outcome": outcome,
        "dataset": task.spec.dataset,
        "data_fingerprint": task.data_fingerprint,
        "protocol": task.spec.protocol,
        "model": task.spec.model.name,
        "loss": task.spec.loss.name,
        "batch_size": task.spec.batch.size,
        "max_len": task.spec.batch.max_len,
        "num_negatives": 0,
        "seed": task.spec.train.seed,
        "spec": task.spec.as_json(),
        "started_at": started,
        "wall_s": (utc_now() - started).total_seconds(),
        "train_s": 1.0,
        "results_version": RESULTS_VERSION,
        "epochs": epochs,
    }
    brought = tuple(
        Baseline(
            data_fingerprint=task.data_fingerprint,
            protocol=task.spec.protocol,
            name="popularity",
            split="valid",
            metric="ndcg",
            k=k,
            value=0.01 * task.spec.batch.size,
            seconds=0.1,
        )
        for k in task.spec.evaluate.ks
    )
    return Record(
        run=Run(**row),
        metrics=tuple(metrics),
        memory=(memory,),
        baselines=brought if task.baselines else (),
    )


def small_ones_die(task, report, stop):
    """Runs of batch size 8 end before they have brought anything."""
    if task.spec.batch.size == 8:
        raise ValueError("too small")
    return run(task, report, stop)


def misbehave(how):
    if how == "raise":
        raise ValueError("this configuration is\nno good")
    if how == "where":
        raise ValueError(f"on the node {os.environ.get('SCALELAB_TEST_NODE')}")
    if how == "gpu":
        raise ValueError(f"sees {os.environ.get('CUDA_VISIBLE_DEVICES')}")
    if how == "limit":
        raise ValueError(f"RLIMIT_DATA is {resource.getrlimit(resource.RLIMIT_DATA)[0]}")
    if how == "segv":
        ctypes.string_at(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "leave":
        os._exit(3)
    if how.startswith("grandchild"):
        # One in the session of the run, one in a session of its own, as a daemon would be.
        for apart in (False, True):
            code = (
                "import os, sys, time; open(f'{sys.argv[1]}/{os.getpid()}', 'w'); time.sleep(600)"
            )
            command = [sys.executable, "-c", code, os.environ[MARK]]
            subprocess.Popen(command, start_new_session=apart)
        while len(os.listdir(os.environ[MARK])) < 2:
            time.sleep(0.01)
        if how == "grandchild-kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "grandchild-forever":
            time.sleep(600)
    if how == "forever":
        time.sleep(600)
    if how == "greedy":
        held = bytearray(64 * 2**30)
        held[0] = 1
    if how == "creeping":
        held = []
        while True:
            held.append(bytearray(32 * MIB))
            time.sleep(0.001)
