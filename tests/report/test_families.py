"""Several families of generators in one report: what stands side by side, and what is said of comparing it."""

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import fabricate
import pytest
from html_tree import parse

from bench import ledger
from bench.analysis import collapse
from bench.analysis.collapse_profile import ANY, profile
from bench.analysis.conditions import Condition
from bench.analysis.families import comparable, members
from bench.analysis.setting import check_unmixed
from bench.analysis.study import Study, studies
from bench.analysis.verdicts import verdict
from bench.errors import LedgerError
from bench.report import build as report
from bench.report import families, style

POINTS = {"name": "points", "shape": "two_gaussians", "dimension": 2}


def made(folder: Path, **families: dict[str, Any]) -> list[Study]:
    """Return the studies of sweeps that are named after their generators."""
    for name, given in families.items():
        about: dict[str, Any] = {"sweep": f"of_{name}", "generator": name, "pictures": False, "num_generations": 6}
        fabricate.sweep(folder, **about | given)
    return studies(ledger.read_runs([folder]))


def test_one_family_has_no_other_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "FORMATS", ("svg",))
    every = made(tmp_path, ddpm={}, ddpm2={"generator": "ddpm", "real": "b" * 64})
    assert len(every) == 2 and members(every) == []
    written = report.write([tmp_path], tmp_path / "out")
    assert "side by side" not in written.text and not list((tmp_path / "out").glob("families*"))
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'id="families"' not in page and "#families" not in page


def test_members_are_those_of_their_studies_condition_by_condition(tmp_path: Path) -> None:
    every = made(tmp_path, vae={"risk": ("risk", 900.0)}, ddpm={"risk": ("risk", 0.1)})
    found = members(every)
    assert [(m.arm, m.family) for m in found] == [(r, f) for r in ("0.00", "0.50", "1.00") for f in ("ddpm", "vae")]
    for member in found:
        assert member.study.rows[0].generator == member.family and member.data == "made-up at 16 px"
        assert member.verdict == verdict(member.study, member.condition)
        assert member.findings == profile(member.study, every)[member.condition]
        assert member.rise().meaning == ANY and member.quantity == "risk" and member.change() is None
    assert found[-1].levels() == "900 → 5400" and found[-2].levels().startswith("0.1")


def test_an_arm_with_a_rule_stands_there_only_beside_the_same_arm(tmp_path: Path) -> None:
    vae, ddpm = made(tmp_path, vae={}, ddpm={})
    rule = Condition("replace", "replace + remedy neon", 1.0, '{"remedy": {"name": "neon"}}')

    def with_rule(study: Study) -> Study:
        return dataclasses.replace(study, chains={**study.chains, rule: study.chains[study.conditions[-1]]})

    sentence = "Arms that only one study has are left out here"
    for studies_, expected in (([with_rule(vae), ddpm], 0), ([with_rule(vae), with_rule(ddpm)], 2)):
        found = members(studies_)
        assert sum(m.arm == "replace + remedy neon" for m in found) == expected and len(found) == 6 + expected
        assert any(sentence in line for line in families.statements(found)[0].legend) == (expected == 0)


def test_arms_of_a_protocol_that_leaves_a_size_free_are_left_out(tmp_path: Path) -> None:
    protocol = {"name": "sizes", "version": 1, "fingerprint": "f", "free": {"generator.unet.channels": []}}
    sized = {"protocol": protocol, "risk": ("risk", 0.1)}
    every = made(tmp_path, ddpm=sized, flow={"risk": ("risk", 0.1)}, vae={"risk": ("risk", 900.0)})
    assert {member.family for member in members(every)} == {"flow", "vae"}
    assert members(made(tmp_path / "two", ddpm=sized, vae={"risk": ("risk", 900.0)})) == [], "one family is left"


def test_the_excess_risk_is_shown_as_a_difference(tmp_path: Path) -> None:
    every = made(tmp_path, gaussian={"risk": ("excess_risk", 0.02), "data": POINTS}, vae={"risk": ("risk", 900.0)})
    gaussian = [member for member in members(every) if member.family == "gaussian"]
    measure = gaussian[0].measure
    assert measure is not None and measure.metric == "excess_risk"
    for member in gaussian[1:]:
        curves = [
            [[member.study.values(c, g, measure)[seed] for g in range(6)] for seed in (0, 1, 2)]
            for c in (member.condition, gaussian[0].condition)
        ]
        assert member.change() == collapse.shift(*curves)


def test_what_may_be_compared_on_the_same_data(tmp_path: Path) -> None:
    yes, no = comparable(members(made(tmp_path, vae={"risk": ("risk", 900.0)}, ddpm={"risk": ("risk", 0.1)})))
    assert any(line.startswith("FID and the other scores of ddpm and vae") for line in yes)
    assert any(line.startswith("The risk of ddpm and vae as a number") for line in no)
    assert not any(line.startswith(("Scores on different data", "How soon")) for line in no)
    assert any("known for no family" in line and "collapsing variance" in line for line in no)  # no Vendi score


def test_what_may_not_be_compared_on_other_data(tmp_path: Path) -> None:
    yes, no = comparable(
        members(
            made(
                tmp_path,
                gaussian={"data": POINTS, "real": "a" * 64, "risk": ("excess_risk", 0.1), "num_generations": 4},
                language_model={"data": POINTS, "real": "b" * 64, "risk": ("excess_risk", 0.1)},
                ddpm={"risk": ("risk", 0.1)},
            )
        )
    )
    assert not any(line.startswith(("FID", "The excess risk")) for line in yes)
    told = "\n".join(no)
    assert "The excess risk of gaussian and language_model with the risk of ddpm" in told
    assert (
        "Scores on different data: ddpm on made-up at 16 px; gaussian on made-up (aaaaaaaa); language_model on made"
        in told
    )
    assert "gaussian 4 generations of 1024 items" in told


def test_one_archive_under_two_names_is_the_same_data_and_is_called_by_its_file(tmp_path: Path) -> None:
    here, there = ({"name": "npz", "path": f"/{name}.npz", "resolution": 16} for name in ("flowers64", "copy"))
    yes, no = comparable(members(made(tmp_path, ddpm={"data": here}, vae={"data": there})))
    assert any(
        line.startswith("FID and the other scores of ddpm and vae: the same flowers64.npz at 16") for line in yes
    )
    assert not any(line.startswith("Scores on different data") for line in no)
    other = {"data": there, "real": "b" * 64}
    _, no = comparable(members(made(tmp_path / "others", ddpm={"data": here}, vae=other)))
    assert any("ddpm on flowers64.npz at 16 px; vae on copy.npz at 16 px" in line for line in no)


def test_the_same_truth_makes_the_excess_comparable(tmp_path: Path) -> None:
    given = {"data": POINTS, "risk": ("excess_risk", 0.1)}
    yes, _ = comparable(members(made(tmp_path, gaussian=given, gaussian_mixture=given)))
    assert any(line.startswith("The excess risk of gaussian and gaussian_mixture, in nats") for line in yes)


def test_other_numbers_of_items_are_other_scores(tmp_path: Path) -> None:
    every = made(tmp_path, ddpm={}, vae={})
    chains = ledger.read_runs([tmp_path / "of_vae"])
    for chain in chains:
        fewer = [[{**s, "num_subject": 512} for s in row.scores] for row in chain.rows]
        chain.rows[:] = [dataclasses.replace(r, scores=s) for r, s in zip(chain.rows, fewer, strict=True)]
    every = studies([*ledger.read_runs([tmp_path / "of_ddpm"]), *chains])
    assert not any(line.startswith("FID") for line in comparable(members(every))[0])


def test_report_tables_and_page_show_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "FORMATS", ("svg",))
    points = {"risk": ("excess_risk", 0.02), "data": POINTS, "real": "b" * 64}
    made(tmp_path, vae={"risk": ("risk", 900.0)}, gaussian=points)
    written = report.write([tmp_path], tmp_path / "out")
    assert tmp_path / "out" / "families.svg" in written.paths
    found = members(studies(ledger.read_runs([tmp_path])))
    page = parse((tmp_path / "out" / "report.html").read_text())
    section = next(part for part in page.all("section") if part.attributes.get("id") == "families")
    assert "families.svg" in {figure.attributes["data-file"] for figure in section.all("figure")}
    drawn = (tmp_path / "out" / "families.svg").read_text()
    for member in found:
        for place in (written.text, section.text):
            assert member.levels() in place and member.verdict.badge in place
        assert member.verdict.badge in drawn
        assert all(level in drawn for level in member.levels().split(" → ")), "in one line, or in two"
        assert member.rise().change in section.text
    assert "Not comparable. Scores on different data" in section.text
    lines = [
        line
        for line in csv.DictReader(io.StringIO((tmp_path / "out" / "statements.csv").read_text()))
        if line["statement"] == "families"
    ]
    assert [(line["condition"], line["answer"]) for line in lines] == [(m.arm, m.verdict.badge) for m in found]
    for line, member in zip(lines, found, strict=True):
        interval = member.change() or member.rise().interval
        assert interval is not None and float(line["value"]) == interval.value
        assert (line["study"], line["setting"]) == (member.study.title, member.study.hash)
    assert r"\caption{Families side by side" in (tmp_path / "out" / "tables.tex").read_text()


def test_families_may_have_feature_spaces_of_their_own_and_that_is_said(tmp_path: Path) -> None:
    every = made(tmp_path, gaussian={"data": POINTS, "space": "identity"}, ddpm={})
    check_unmixed(ledger.read_runs([tmp_path]))
    told = "\n".join(comparable(members(every))[1])
    assert "in different feature spaces: ddpm in efficientnet_lite0; gaussian in identity" in told
    made(tmp_path, other={"generator": "ddpm", "space": "pixels"})
    with pytest.raises(LedgerError, match="mix feature spaces: efficientnet_lite0; pixels"):
        check_unmixed(ledger.read_runs([tmp_path]))
