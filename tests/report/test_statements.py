"""Statements: what is known of a made-up sweep is found in tables, card, figure and page, or refused with a reason."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import dosed
import fabricate
import numpy as np
import pytest
from html_tree import parse
from matplotlib.figure import Figure

from bench import ledger, report
from bench.analysis.exchange_rate import exchanges
from bench.analysis.results_card import card
from bench.analysis.study import Study, studies
from bench.analysis.variance_components import IMAGES, crossed_components, variances
from bench.report import exchange_figure, statements, style


def study_of(tmp_path: Path, **kwargs: Any) -> Study:
    (study,) = studies(ledger.read_runs([dosed.sweep(tmp_path, **kwargs)]))
    return study


# -------------------------------------------------------------------------------------------------- exchange rate


def test_the_exchange_rate_is_the_one_that_was_planted(tmp_path: Path) -> None:
    (exchange,) = exchanges(study_of(tmp_path))
    assert list(exchange.real_only) == sorted(dosed.NUM - round(dosed.NUM * r) for r in dosed.ALONE)
    assert exchange.refused == {} and len(exchange.rates) == len(dosed.WORTH) * 3
    misses = 0
    for rate in exchange.rates:
        ratio = rate.condition.ratio
        assert ratio is not None
        num_synthetic = round(ratio * dosed.NUM)
        assert (rate.num_real, rate.num_synthetic) == (dosed.NUM - num_synthetic, num_synthetic)
        assert rate.seeds == (0, 1, 2, 3, 4)
        true = dosed.worth(ratio, rate.generation)
        assert rate.worth.value == pytest.approx(true, abs=0.08)
        misses += not ((rate.worth.low or -9) - 0.01 <= true <= (rate.worth.high or 9) + 0.01)
    assert misses <= 2  # of twelve intervals of 95 %


def test_fid_is_interpolated_in_its_logarithm(tmp_path: Path) -> None:
    (exchange,) = exchanges(study_of(tmp_path, noise=0.0, alone=(0.0, 0.9), ratios={0.5: None}, num_generations=2))
    (rate,) = exchange.rates
    few, all_of_them = exchange.real_only
    low, high, here = (np.log(dosed.fid_of(m)) for m in (few, all_of_them, 512 + 512 * dosed.worth(0.5, 1)))
    assert rate.equivalent.value == pytest.approx(few * (all_of_them / few) ** ((here - low) / (high - low)), rel=1e-4)


def test_real_images_alone_are_averaged_over_their_generations_and_generation_0_counts_once(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    (exchange,) = exchanges(study)
    fid = exchange.measure
    half, zero = (next(c for c in study.conditions if c.label == label) for label in ("real only (r 0.5)", "0.00"))
    expected = np.mean([study.values(half, g, fid)[2] for g in (1, 2, 3)])
    assert exchange.real_only[512][2] == pytest.approx(expected)
    expected = np.mean([study.values(zero, g, fid)[2] for g in (0, 1, 2, 3)])
    assert exchange.real_only[1024][2] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"alone": (0.0,)}, "it needs arms of fewer real items alone"),
        ({"seeds": (0, 1)}, "it needs 3 seeds that all sizes of real_only have, and there are 2"),
    ],
)
def test_without_arms_or_seeds_it_is_refused_with_the_reason(tmp_path: Path, changes: dict, reason: str) -> None:
    study = study_of(tmp_path, **changes)
    (exchange,) = exchanges(study)
    assert exchange.rates == [] and exchange.refused[None].startswith(reason)
    stated = next(s for s in statements.statements(study, [study]) if s.title == "Exchange rate in FID")
    assert stated.rows == [] and reason in statements.to_markdown(stated)
    assert statements.to_latex(stated).startswith("% ") and "[U+" not in statements.to_latex(stated)
    assert card(study)["exchange_rates"][0]["refused"][""].startswith(reason)


def test_conditions_with_too_few_seeds_are_refused_alone_in_one_line(tmp_path: Path) -> None:
    (exchange,) = exchanges(study := study_of(tmp_path, ratios={0.5: None, 0.75: (0, 1), 1.0: (0, 1)}))
    assert {rate.condition.label for rate in exchange.rates} == {"0.50"}
    reason = "it needs 3 seeds in common with real_only, and there are 2"
    assert {c.label: why for c, why in exchange.refused.items() if c} == {"0.75": reason, "1.00": reason}
    stated = next(s for s in statements.statements(study, [study]) if s.title == "Exchange rate in FID")
    assert [line for line in stated.legend if "refused" in line] == [f"0.75, 1.00: refused, {reason}"]


def test_without_samples_there_is_nothing_to_price(tmp_path: Path) -> None:
    assert exchanges(study_of(tmp_path, ratios={})) == []


def test_table_csv_and_card_have_the_same_numbers(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    (exchange,) = exchanges(study)
    stated = statements.statements(study, [study])
    last = exchange.last()
    assert [rate.generation for rate in last] == [3] * len(dosed.WORTH)
    assert [row[5] for row in stated[1].rows] == [rate.worth.text(2) for rate in last]
    written = list(csv.DictReader(io.StringIO(statements.to_csv([(study, stated)]))))
    priced = [line for line in written if line["quantity"] == "worth"]
    in_card = json.loads(json.dumps(card(study), allow_nan=False))["exchange_rates"][0]["rates"]
    for line, entry, rate in zip(priced, in_card, exchange.rates, strict=True):
        ends = [rate.worth.value, rate.worth.low, rate.worth.high]
        assert [float(line[k]) if line[k] else None for k in ("value", "low_95", "high_95")] == ends
        assert entry["worth"] == ends and entry["condition"] == line["condition"] == rate.condition.label
        assert entry["generation"] == int(line["generation"]) == rate.generation


def test_the_figure_has_each_number_where_it_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: dict[str, Figure] = {}
    monkeypatch.setattr(style, "FORMATS", ("png",))
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: figures.update({Path(path).stem: self}))
    study = study_of(tmp_path)
    exchange_figure.exchange_rate(study, tmp_path, "exchange_rate")
    left, right = figures["exchange_rate"].axes
    (exchange,) = exchanges(study)
    for condition in {rate.condition for rate in exchange.rates}:
        rates = [rate for rate in exchange.rates if rate.condition == condition]
        line = next(line for line in right.lines if line.get_label() == condition.label)
        assert list(line.get_ydata()) == [r.worth.value for r in rates if r.worth.value is not None]
        filled = [line for line in left.lines if line.get_color() == style.line_style(study, condition)["color"]]
        assert any(list(line.get_xdata()) == [rates[-1].equivalent.value] for line in filled) or rates[-1].worth.side
    assert right.get_ylabel().startswith("real images")


def test_report_and_page_show_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "FORMATS", ("svg",))
    made = report.write([dosed.sweep(tmp_path)], tmp_path / "out")
    names = {path.name for path in made.paths}
    assert {"exchange_rate.svg", "statements.csv"} <= names
    assert "**Exchange rate in FID**" in made.text
    (study,) = studies(ledger.read_runs([tmp_path / "dosed"]))
    (exchange,) = exchanges(study)
    section = parse((tmp_path / "out" / "report.html").read_text()).one("section", "statements")
    assert "exchange_rate.svg" in {figure.attributes["data-file"] for figure in section.all("figure")}
    for rate in exchange.last():
        assert rate.worth.text(2) in made.text and rate.worth.text(2) in section.text
        assert rate.worth.text(2) in (tmp_path / "out" / "card.md").read_text()
    assert r"\caption{Exchange rate in FID" in (tmp_path / "out" / "tables.tex").read_text()


# -------------------------------------------------------------------------------------------- variance components


def crossed(tmp_path: Path, splits: tuple[int, ...] = (0, 1, 2), **kwargs: Any) -> list[Study]:
    """Return studies that differ in the split alone."""
    for split in splits:
        data = {"name": "procedural", "kind": "flowers", "resolution": 16, "split_seed": split}
        made = {"sweep": f"split{split}", "data": data, "real": f"{split}" * 64, "pictures": False}
        fabricate.sweep(tmp_path, num_generations=3, **{**made, **kwargs})
    return studies(ledger.read_runs([tmp_path]))


def test_splits_are_crossed_with_seeds_over_the_studies_that_differ_in_nothing_else(tmp_path: Path) -> None:
    every = crossed(tmp_path)
    other = fabricate.sweep(tmp_path / "other", space="inception_v3", num_generations=3, pictures=False)
    every += studies(ledger.read_runs([other]))
    assert len(every) == 4
    (found,) = variances(every[1], every)
    assert found.splits == [0, 1, 2] and found.generation == 2 and found.refused == {}
    for condition in every[1].conditions:
        values = [one.values(condition, 2, found.measure) for one in every[:3]]
        table = np.array([[by_seed[s] for s in (0, 1, 2)] for by_seed in values])
        assert found.components[condition] == crossed_components(table)
    body = json.loads(json.dumps(card(every[1], every), allow_nan=False))["variance_components"][0]
    expected = [vars(c) for components in found.components.values() for c in components]
    assert [{k: e[k] for k in expected[0]} for e in body["components"]] == expected
    assert set(body["not_identifiable"]) == {"sampling alone", "reference alone"}


def test_the_first_of_the_crossed_studies_has_the_table(tmp_path: Path) -> None:
    every = crossed(tmp_path)
    first, second = (statements.statements(study, every)[-1] for study in every[:2])
    assert (
        len(first.rows) == 3 and len(first.head) == 5 and "Not identifiable, sampling alone" in " ".join(first.legend)
    )
    assert second.rows == [] and second.legend == [f"In the study “{every[0].title}”."]
    assert len(first.records) == 9 and second.records == []


def test_scatter_over_images_is_shown_where_every_chain_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fabricate.score
    monkeypatch.setattr(fabricate, "score", lambda *args, **kwargs: {**made(*args, **kwargs), "image_sd": 3.0})
    (found, *_) = variances((every := crossed(tmp_path))[0], every)
    for components in found.components.values():
        assert (components[-1].name, components[-1].sd, components[-1].low) == (IMAGES, pytest.approx(3.0), None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"splits": (0,)},
            "it needs 2 splits (data.split_seed) of studies that differ in nothing else, and there is 1",
        ),
        ({"seeds": (0,)}, "it needs 2 seeds that all splits have, and there is 1"),
    ],
)
def test_what_is_not_crossed_is_refused_with_the_reason(tmp_path: Path, changes: dict, reason: str) -> None:
    every = crossed(tmp_path, **changes)
    (found,) = variances(every[0], every)
    assert found.components == {} and all(why.startswith(reason) for why in found.refused.values())
    assert reason in statements.to_markdown(statements.statements(every[0], every)[-1])


def test_a_long_table_is_folded_on_the_page_and_broken_in_latex() -> None:
    stated = statements.Statement("t", "a", ["x", "y"], [[str(i), "&"] for i in range(90)], ["read"])
    pages = statements.to_latex(stated).split(r"\begin{table}")[1:]
    assert [page.count(r" \\") - 1 for page in pages] == [40, 40, 10]
    assert "t, continued." in pages[1] and r"89 & \&" in pages[2]
