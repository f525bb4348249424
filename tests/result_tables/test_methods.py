"""The paragraph of methods says what the ledger holds; each part of the tree has its sources."""

import json
import re
from dataclasses import replace

import pytest

from scalelab.core.locating import available
from scalelab.core.records import UserRanks
from scalelab.result_tables.bibtex import all_sources, sources_of
from scalelab.result_tables.documents import bibtex
from scalelab.result_tables.methods import methods_of
from scalelab.store.ledger import Ledger


def test_the_paragraph_says_what_the_ledger_holds(study):
    text = methods_of(study).as_format("html")
    number = study.query("SELECT count(DISTINCT configuration) AS n FROM results").to_pylist()[0]
    assert f"{number['n']} configurations in " in text
    for words in (
        "20,000 users, 100,000 items, 400,000 interactions",
        "leave-one-out, seen excluded",
        "1 to 3 seeds (0, 1, 2)",
        "AMD EPYC 7763 with 24 GiB (2 threads)",
        "scalelab 0.1.0, PyTorch 2.13.0, Python 3.11.9",
        "rece (Gusak et al., 2024)",
    ):
        assert words in text, words


def test_latex_cites_entries_that_bibtex_gives(study):
    methods = methods_of(study)
    latex = methods.as_format("latex")
    cited = {key for keys in re.findall(r"\\cite\{([^}]*)\}", latex) for key in keys.split(",")}
    given = set(re.findall(r"@\w+\{(\w+),", bibtex(methods)))
    assert cited == given
    assert "gusak2024rece" in cited
    assert "sampled\\_softmax" in latex
    assert "keywords" not in bibtex(methods)


def test_a_part_of_ones_own_is_named_as_without_source(fake, tmp_path):
    ledger = Ledger.create_or_open(tmp_path / "a.duckdb")
    ledger.append([fake.record(loss="own.py:Own")])
    assert bibtex(methods_of(ledger)).startswith("% No source is known for: losses.own.py:Own\n")


@pytest.mark.parametrize("kind", ["losses", "models"])
def test_each_part_of_the_tree_has_a_source(kind):
    assert sources_of(f"{kind}.{name}" for name in available(kind))[1] == []


def test_entries_are_whole_and_name_parts_that_exist():
    known = {f"{kind}.{name}" for kind in ("losses", "models") for name in available(kind)}
    keys = [source.key for source in all_sources()]
    assert len(keys) == len(set(keys)) > 10
    for source in all_sources():
        assert source.parts <= known
        assert source.bibtex.count("{") == source.bibtex.count("}")
        assert source.bibtex.endswith("}\n}\n")
        assert source.bibtex.isascii()


def test_a_ledger_without_runs_says_so(empty):
    assert methods_of(empty).as_format("markdown") == "No run has finished.\n"


def test_one_is_singular_and_several_are_joined_by_commas(fake, tmp_path):
    ledger = Ledger.create_or_open(tmp_path / "l.duckdb")
    for index, heads in enumerate((1, 2, 4)):
        one = fake.record(index=index)
        spec = json.loads(one.run.spec)
        spec["model"] |= {"num_blocks": 1, "num_heads": heads}
        spec["train"] |= {"epochs": 1, "patience": 1}
        spec["evaluate"] = {"metric": "recall@20"}
        run = replace(one.run, spec=json.dumps(spec), fingerprint=f"f{index}")
        ledger.append([replace(one, run=run)])
    assert "bootstrap" not in methods_of(ledger).text
    text = methods_of(ledger).text
    assert "The weights with the best Recall@20 on" in text
    assert "width 64, 1 block, 1, 2 or 4 heads" in text
    assert "at most 1 epoch, ended after 1 evaluation without improvement." in text


def test_negatives_of_several_sources_are_written_as_a_sum(fake, tmp_path):
    ledger = Ledger.create_or_open(tmp_path / "l.duckdb")
    for index, counts in enumerate([(16, 64), (256,)]):
        one = fake.record(index=index)
        sources = zip(("uniform", "popular"), counts, strict=False)
        spec = json.loads(one.run.spec)
        spec["negatives"] = [{"name": name, "num_negatives": k} for name, k in sources]
        run = replace(one.run, spec=json.dumps(spec), fingerprint=f"f{index}")
        ledger.append([replace(one, run=run)])
    assert "16 + 64 or 256 negatives where a loss samples them" in methods_of(ledger).text


def test_it_names_the_test_where_the_ranks_of_all_are_kept(fake, tmp_path):
    ledger = Ledger.create_or_open(tmp_path / "l.duckdb")
    for index, loss in enumerate(("bce", "rece")):
        one = fake.record(index=index, loss=loss)
        ledger.append([replace(one, user_ranks=UserRanks(ranks=(1, 2, 3)))])
    text = methods_of(ledger).text
    assert "a paired bootstrap over the test users (3,000 drawings) with Holm's correction" in text
    assert "The weights with the best NDCG@10 on" in text
