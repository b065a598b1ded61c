"""A sentence that can be cited has number, interval, protocol, version and seeds; BibTeX is whole."""

import re
from dataclasses import replace
from pathlib import Path

import made_up
import pytest
from made_up import fabricate

from bench.analysis.ranking import COVERAGE, KID, RATE, RISK
from bench.analysis.study import studies
from bench.analysis.verdicts import growth, percent
from bench.errors import LedgerError
from bench.ledger import Chain
from bench.report.ranking_statement import ranking
from bench.results import citation, shelf
from bench.results.__main__ import main

RUN = made_up.chains((0.0, 0.25, 0.5, 1.0))


def cited(tmp_path, capsys, *arguments: str) -> str:
    shelf.pack(RUN, tmp_path)
    assert main(["--reference", str(tmp_path), "cite", "collapse_mini_v1", *arguments]) == 0
    return capsys.readouterr().out


def test_the_sentence_has_the_number_of_the_verdict_with_its_interval(tmp_path, capsys):
    out = cited(tmp_path, capsys).split("\n\n")[0]
    (study,) = studies(RUN)
    number, interval = percent(growth(study, study.conditions[-1]).rise).split(" (")
    assert re.fullmatch(r"\+\d+ to \+\d+\)", interval)
    told = f"the same seeds at ratio 0 by {number} (95 % interval over seeds: {interval}; over all ratios, the rise"
    assert f"{told} passes 10 %" in out
    assert out.startswith("In collapse_mini_v1 version 1 (ddpm on made-up at 16 px, 3 seeds, 10 generations, run on ")
    assert "the verdict on synthetic ratio 1.00 is “diverging”: its FID (efficientnet_lite0, N = 1024)" in out
    assert "in generations 5 to 9 differs from that of the same seeds" in out
    assert "; over all ratios, the rise passes 10 % at 0." in out
    assert "measured with revision" in out
    assert out.endswith("fingerprint 653b6668d47f0c49).") and "\n" not in out


def test_bibtex_names_results_and_benchmark(tmp_path, capsys):
    out = cited(tmp_path, capsys)
    assert "@misc{collapse_mini_v1_1,\n  title  = {Reference results of collapse\\_mini\\_v1 version 1}" in out
    assert "12 chains of 3 seeds" in out and "year   = {2026}" in out
    assert "@software{diffusion_collapse_bench," in out
    assert out.count("{") == out.count("}")


def test_another_condition_can_be_cited(tmp_path, capsys):
    shelf.pack(RUN, tmp_path)
    assert main(["--reference", str(tmp_path), "cite", "collapse_mini_v1", "--condition", "0.504"]) == 2
    assert "there is no condition '0.504'" in capsys.readouterr().err
    for label in ("0.50", "0.5", ".5"):
        assert "the verdict on synthetic ratio 0.50 is" in cited(tmp_path, capsys, "--condition", label)
    assert main(["--reference", str(tmp_path), "cite", "collapse_mini_v1"]) == 0
    assert capsys.readouterr().err == "Conditions that --condition takes:\n  0.00\n  0.25\n  0.50\n  1.00\n"
    assert main(["--reference", str(tmp_path), "cite", "collapse_mini_v1", "--condition", "7"]) == 2
    assert "there is no condition '7'; there are: 0.00, 0.25, 0.50, 1.00" in capsys.readouterr().err


def test_of_several_studies_the_one_that_was_asked_for_is_cited_with_what_sets_it_apart(tmp_path):
    """Planted: only the second split has ratio .25, on another device, and its numbers are others."""
    split = made_up.chains((0.0, 0.25, 1.0), made_up.SEEDS, "data.split_seed=1", noise=1)
    moved = [replace(row, environment={**row.environment, "device": "GPU"}) for chain in split for row in chain.rows]
    split = [replace(chain, rows=[row for row in moved if row.chain == chain.id]) for chain in split]
    shelf.pack([*made_up.chains((0.0, 1.0)), *split], tmp_path)
    entries = shelf.read(tmp_path)
    quarter = citation.sentence(entries, "0.25")
    assert (
        "(ddpm on made-up at 16 px, data.split_seed=1, 3 seeds, 10 generations, run on GPU, made-up, fp32)" in quarter
    )
    for number, device in enumerate(("cpu", "GPU")):
        study = studies(entry.chain for entry in entries)[number]
        out = citation.sentence(entries, f"(data.split_seed={number}) 1.00")
        assert f", data.split_seed={number}, 3 seeds, 10 generations, run on {device}, made-up, fp32)" in out
        assert percent(growth(study, study.conditions[-1]).rise).split(" (")[0] in out
    assert ", data.split_seed=1, 3 seeds" in citation.sentence(entries), "the study with most conditions"
    with pytest.raises(LedgerError, match=r"several conditions '1.00'; there are: \(data.split_seed=0\) 1.00, \(data"):
        citation.sentence(entries, "1.00")


def test_a_condition_without_a_ratio_and_one_without_an_interval_can_be_cited():
    rows = [fabricate.row(0.5, g, 0, policy="accumulate") for g in range(4)]
    rows = [replace(row, config={**row.config, "mixing": {"policy": "accumulate"}}) for row in rows]
    entry = shelf.Entry(Path(), "made-up", "1", "f" * 64, "", Chain(rows[0].chain, Path(), rows))
    out = citation.sentence([entry])
    assert "made-up at 16 px, 1 seed, 4 generations, " in out
    assert "the verdict on “accumulate” is “inconclusive”: its FID (" in out
    assert re.search(r"in generations 2 to 3 differs from that of its own generation 0 by \+\d+ % \(no interval: ", out)
    assert "(no interval: 1 seed of 4 generations)" in out


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"name": "procedural"}, "drawn made-up at 16 px"),
        ({"name": "npz", "path": "…/flowers64.npz"}, "flowers64.npz at 16 px"),
    ],
)
def test_the_data_are_named_so_that_drawings_are_no_photographs(data, words):
    row = fabricate.row(0.5, 0, 0)
    content = "drawn" if data["name"] == "procedural" else "7a2a9ce6"
    row = replace(row, config={**row.config, "data": {"resolution": 16, **data}}, environment={"data_content": content})
    assert citation.data_of(row) == words


@pytest.mark.parametrize(("version", "status"), [("1", 0), ("2", 2)])
def test_a_version_that_is_not_there_is_an_error(tmp_path, capsys, version, status):
    shelf.pack(RUN, tmp_path)
    assert main(["--reference", str(tmp_path), "cite", "collapse_mini_v1", version]) == status


def test_an_arm_is_cited_beside_its_baseline_and_a_ratio_of_its_own_study_alone():
    entries = shelf.measured(shelf.read(shelf.shipped()), "remedies_mini_v1")
    out = citation.sentence(entries, "accumulate")
    assert "; minus its baseline (replace, same seeds, generation 5, 95 % intervals): coverage +0.16 (" in out
    (study,) = studies(entry.chain for entry in entries)
    stated = next(one for one in ranking(study) if one.title == "Arms against replace")
    cells = next(row for row in stated.rows if row[0] == "accumulate")[2:6]
    assert all(f"{name} {cell}" in out for name, cell in zip((COVERAGE, KID, RISK, RATE), cells, strict=True))
    assert "minus its baseline" not in citation.sentence(entries, "0.75")


def test_of_several_equal_studies_none_is_chosen(tmp_path, capsys):
    shelf.pack([*made_up.chains((0.0, 1.0)), *made_up.chains((0.0, 1.0), made_up.SEEDS, "data.split_seed=1")], tmp_path)
    assert main(["--reference", str(tmp_path), "cite", "collapse_mini_v1"]) == 2
    err = capsys.readouterr().err
    assert "several conditions are alike, so --condition is needed; there are: (data.split_seed=0) 0.00, " in err


def test_of_several_arms_of_the_highest_ratio_none_is_chosen():
    """The widths of a network are conditions of one study."""
    entries = shelf.measured(shelf.read(shelf.shipped() / "sizes_mini_v1"), "sizes_mini_v1")
    with pytest.raises(LedgerError, match="several conditions are alike, so --condition is needed"):
        citation.sentence(entries)
    label = next(
        name
        for name in citation.labels(studies(e.chain for e in entries))
        if "1.00" in name and "channels [8, 16]" in name
    )
    assert f"the verdict on “{label.partition(') ')[2]}” is" in citation.sentence(entries, label)


def test_another_policy_has_no_critical_ratio_and_the_devices_are_those_of_each_side(tmp_path):
    def on_gpu(chain):
        there = [replace(row, environment={**row.environment, "device": "GPU"}) for row in chain.rows]
        other = [{**row.checksums, "sample": row.checksums["sample"][::-1]} for row in there]
        rows = [replace(row, policy="real_only", checksums=sums) for row, sums in zip(there, other, strict=True)]
        return replace(chain, rows=rows)

    other = [on_gpu(chain) for chain in made_up.chains((0.5,), made_up.SEEDS, "mixing=real_only")]
    shelf.pack([*RUN, *other], tmp_path)
    entries = shelf.read(tmp_path)
    out = citation.sentence(entries, "real only (r 0.5)")
    assert "passes 10 %" not in out
    assert "run on GPU, made-up, fp32, ratio 0 on cpu, made-up, fp32, without a common generation 0)" in out
    assert "run on cpu, made-up, fp32), the verdict" in citation.sentence(entries, "0.50")
