"""What several texts share is written once, and never makes two of them one."""

from hypothesis import given
from hypothesis import strategies as st

from scalelab.reporting.shared_parts import findings, without_shared

WORDS = st.lists(st.sampled_from(["a", "b", "c", "1,000 items"]), min_size=1, max_size=4)


def test_a_part_that_all_have_is_taken_out() -> None:
    texts = ["synthetic, 1,000 items, loo", "synthetic, 4,000 items, loo"]
    assert without_shared(texts) == (["1,000 items", "4,000 items"], "synthetic, loo")
    assert without_shared(["a, b", "a"]) == (["a, b", "a"], "")
    assert without_shared(["a", "a"]) == (["a", "a"], "")
    assert without_shared([]) == ([], "")


@given(st.lists(WORDS.map(", ".join), min_size=1, max_size=5))
def test_different_texts_stay_different(texts: list[str]) -> None:
    shorter, _ = without_shared(texts)
    for one, short in zip(texts, shorter, strict=True):
        for other, shorter_other in zip(texts, shorter, strict=True):
            assert one == other or short != shorter_other


def test_a_finding_of_one_has_no_name_and_of_many_a_line_each() -> None:
    assert findings({}) == ""
    assert findings({"x": "It is so."}) == "It is so."
    assert findings({"x": "", "y": ""}) == ""
    many = findings({f"{n}, cpu": "So." for n in range(5)})
    assert many == "0: So.\n1: So.\n2: So.\n2 more are not written out here."
    assert findings({str(n): "So." for n in range(4)}).endswith("\n1 more is not written out here.")


def test_a_finding_is_named_also_where_the_others_have_none() -> None:
    assert findings({"a, cpu": "", "b, cpu": "So."}) == "b: So."
    assert findings({str(n): "So." if n == 7 else "" for n in range(9)}) == "7: So."
