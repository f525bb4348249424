"""The table that sets the kinds of memory beside one another."""

from scalelab.core.memory_kinds import KINDS, reconciled

GPU = {
    "train": {
        "requested": {"total": 100, "item_table": 40},
        "allocated": {"total": 130},
        "reserved": {"total": 200},
    },
    "eval": {"requested": {"total": 90}, "allocated": {"total": 140}, "reserved": {"total": 200}},
    "process": {"device_used": {"total": 550}, "host_rss": {"total": 900}},
}


def test_each_kind_adds_to_the_highest_peak_of_the_one_before() -> None:
    rows = reconciled(GPU, {})
    assert [row["kind"] for row in rows] == list(KINDS)
    # allocated: 140 in evaluation against 100 in training; the host's memory is no part of a GPU's.
    assert [row["adds"] for row in rows] == [None, 40, 60, 350, None]
    assert all(row["why"] == KINDS[row["kind"]] for row in rows)
    assert rows[0]["train"] == 100
    assert rows[4]["process"] == 900


def test_what_was_not_read_says_why_and_is_passed_over() -> None:
    memory = {
        "train": {"requested": {"total": 100}, "allocated": {"total": None}},
        "process": {"host_rss": {"total": 700}},
    }
    reasons = {"train.allocated": "no caching allocator", "process.device_used": "no GPU"}
    requested, allocated, reserved, used, host = reconciled(memory, reasons)
    assert (allocated["why"], allocated["adds"]) == ("no caching allocator", None)
    assert (reserved["why"], reserved["train"]) == ("", None)
    assert used["why"] == "no GPU"
    assert host["adds"] == 700 - requested["train"]
