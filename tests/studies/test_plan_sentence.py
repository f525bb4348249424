"""What the sentence of a plan says: who fits, why not, the fastest, what limits a solution."""

import pytest

from scalelab.core.units import GIB
from scalelab.studies.plan_sentence import headroom_of, plan_sentence, ranked


def document(label, needed=2, fits=True, middle=100.0, **more):
    seconds = None if fits is None else {"low": middle / 2, "high": middle * 2}
    return {
        "label": label,
        "device": "RTX",
        "device_kind": "cuda",
        "fits": fits,
        "needed_bytes": None if fits is None else needed * GIB,
        "limit_bytes": 8 * GIB,
        "process_bytes": None,
        "memory": {"requested": {"total": 10 * GIB, "item_table": GIB, "loss_workspace": 9 * GIB}},
        "evaluation": {"requested": {"total": GIB, "evaluation_workspace": GIB}},
        "seconds": {"step": seconds, "evaluation": seconds, "run": seconds, "pretraining": None},
        "reason": "only its compiler knows",
        **more,
    }


def _pretrained(label, low):
    found = document(label)
    found["seconds"]["pretraining"] = {"low": low, "high": 2 * low}
    return found


FAST, SLOW = document("fast"), document("slow", middle=500.0)
ALSO_FAST = document("also", middle=105.0, needed=3)
LARGE = document("large", needed=20, fits=False)
UNKNOWN = document("compiled", fits=None)


@pytest.mark.parametrize(
    ("documents", "said", "unsaid"),
    [
        ([FAST, SLOW],
         ["Both configurations fit RTX (8 GiB for a run, CUDA's context left out)",
          "fastest that fits is fast"],
         ["does not"]),
        ([SLOW, FAST, ALSO_FAST], ["equally fast, are fast and also"], ["slow"]),
        ([FAST, ALSO_FAST], ["predicted to be equally fast"], ["fastest that fits is"]),
        ([FAST, LARGE], ["1 of 2 configurations fit", "large does not: it needs 20 GiB (reserved)",
          "the temporary memory of the loss", "takes 9 GiB"], ["The fastest"]),
        ([LARGE, document("larger", needed=40, fits=False)],
         ["None of 2 configurations fits", "the smallest is large"], ["The fastest"]),
        ([FAST, SLOW, UNKNOWN], ["2 of 3 configurations fit", "No prediction for compiled"], []),
        ([UNKNOWN, document("other", fits=None)],
         ["No prediction for compiled and other"], ["fit"]),
        ([document("")],
         ["This run fits RTX", "it needs 2 GiB (reserved), 75 % stays free", "50 s to 3.3 min"],
         ["fastest"]),
        ([document("", needed=20, fits=False)], ["This run does not fit RTX", "20 GiB"], []),
        ([FAST, *(document(f"l{n}", needed=9, fits=False) for n in range(5))],
         ["1 of 6", "l2 does not", "nor do 2 more"], ["l3"]),
        ([_pretrained("a", 1.0), _pretrained("b", 4.0), FAST],
         ["run counts its pre-training (1.0 to 8.0 s), which a sweep does once"], []),
        ([_pretrained("a", 1.0), FAST], [], ["pre-training"]),
    ],
)  # fmt: skip
def test_each_clause_is_there_when_it_is_true(documents, said, unsaid):
    text = plan_sentence(documents)
    for each in said:
        assert each in text
    for each in unsaid:
        assert each not in text
    assert text.endswith("Quality is not predicted.")


@pytest.mark.parametrize(
    ("limited_by", "next_value", "said"),
    [
        ("memory", 41, "41 does not fit 8 GiB"),
        ("users", None, "the number of users in the data, not the memory"),
        ("range", None, "the range of values that are tried, not the memory"),
    ],
)
def test_a_solution_says_what_limits_it(limited_by, next_value, said):
    solved = document(
        "bce", key="batch.size", value=40, next_value=next_value, limited_by=limited_by
    )
    text = plan_sentence([solved])
    assert "The largest batch.size of bce is 40" in text
    assert said in text
    assert "It needs 2 GiB of 8 GiB that a run may reserve" in text


def test_a_solution_without_a_prediction_says_why():
    solved = document("x", fits=None, key="batch.size", value=None, next_value=None)
    assert "only its compiler knows" in plan_sentence([solved])


def test_the_rank_is_by_fitting_then_seconds_then_bytes():
    smaller = document("smaller", needed=1)
    order = ranked([UNKNOWN, LARGE, SLOW, FAST, smaller])
    assert [each["label"] for each in order] == ["smaller", "fast", "slow", "large", "compiled"]


@pytest.mark.parametrize(("made", "share"), [(FAST, 0.75), (LARGE, None), (UNKNOWN, None)])
def test_headroom_is_what_stays_free(made, share):
    assert headroom_of(made) == share
