"""What is known of a run whose process died, from the reports that it had sent."""

from scalelab.core.events import Progress
from scalelab.workers.last_progress import LastProgress


def report(phase, epoch, metric=None, used_bytes=None):
    return Progress(
        run_id="r",
        phase=phase,
        epoch=epoch,
        epochs=9,
        step=1,
        num_steps=1,
        loss=None,
        metric=metric,
        best_metric=metric,
        used_bytes=used_bytes,
        tokens_per_s=None,
        popularity=None,
    )


def after(*reports):
    progress = LastProgress()
    for each in reports:
        progress.update(each)
    return progress


def values(progress):
    return {metric.epoch: metric.value for metric in progress.metrics}


def test_a_run_that_has_reported_nothing_died_in_its_setup():
    nothing = LastProgress()
    assert (nothing.phase, nothing.epochs, nothing.metrics) == ("setup", None, ())
    assert nothing.memory == ()


def test_phase_and_epoch_are_the_last_ones():
    progress = after(report("train", 1), report("evaluate", 1), report("backward", 2))
    assert (progress.phase, progress.epochs) == ("backward", 2)


def test_a_metric_counts_once_its_epoch_was_evaluated():
    # The second epoch repeats the figure of the first until it has one of its own.
    progress = after(
        report("train", 1),
        report("evaluate", 1),
        report("evaluate", 1, 0.1),
        report("train", 2, 0.1),
        report("evaluate", 2, 0.1),
    )
    assert values(progress) == {1: 0.1}
    progress.update(report("train", 3, 0.2))
    assert values(progress) == {1: 0.1}, "epoch 3 has not been evaluated"


def test_the_measured_peak_is_kept():
    (peak,) = after(report("train", 1, used_bytes=77)).memory
    assert (peak.stage, peak.kind, peak.component, peak.bytes) == (
        "train",
        "requested",
        "total",
        77,
    )
    assert peak.source == "measured"
