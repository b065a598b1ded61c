"""The HTML page of a report: one self-contained file that opens from the file system and needs no network.

The text, the tables and the figures' SVG files are in the page as written here. JavaScript shows the samples, and shows
and hides parts of the page.
"""

import base64
import html
import json
from pathlib import Path
from typing import Any

from bench.analysis.provenance import chain_facts, chain_seconds
from bench.analysis.publishable import everywhere, places_of
from bench.analysis.study import Study
from bench.analysis.verdicts import RULE, summary, verdict
from bench.ledger import Chain
from bench.report import sheets
from bench.report.figures import Figures
from bench.report.markup import Html, element, fill, join
from bench.report.page_parts import DOWNLOADS, download_size, figure, offered, swatch
from bench.report.page_samples import samples, samples_data
from bench.report.page_scores import scores
from bench.report.page_statements import of_families, statements
from bench.report.sheets import Sheets
from bench.report.statements import Statement

HERE = Path(__file__).parent
SECTIONS = {
    "summary": "Summary",
    "statements": "Statements",
    "scores": "Scores",
    "samples": "Samples",
    "survival": "Class survival",
    "training": "Training",
    "provenance": "Provenance",
}


def page(
    drawn: list[tuple[Study, Figures]],
    stated: dict[Study, list[Statement]],
    files: dict[str, str],
    out: Path,
    families: tuple[list[Statement], list[Path]] = ([], []),
) -> Path:
    """Write `report.html` into `out` and return its path.

    Args:
        drawn: Every study with its figures.
        stated: The statements about each study.
        files: Name -> text of files that the page offers for download.
        out: The directory to write to.
        families: The statements about several families side by side, and the files of their figure.
    """
    uris: list[str] = []
    drawn = [(study, offered(figures, DOWNLOADS // len(drawn))) for study, figures in drawn]
    left = sheets.BUDGET - sum(download_size(figures.paths) for _, figures in drawn)
    shown = [sheets.build(study, uris, left // len(drawn)) for study, _ in drawn]
    data = {
        "uris": uris,
        "studies": [samples_data(study, encoded) for (study, _), encoded in zip(drawn, shown, strict=True)],
    }
    articles = [
        _study(number, study, stated[study], figures, encoded)
        for number, ((study, figures), encoded) in enumerate(zip(drawn, shown, strict=True))
    ]
    studies = [study for study, _ in drawn]
    side_by_side = of_families(*families)
    parts = {
        "TITLE": html.escape(" · ".join(study.title for study in studies)),
        "STYLE": (HERE / "page.css").read_text(encoding="utf-8"),
        "NAVIGATION": join([_navigation(i, figures, side_by_side) for i, (_, figures) in enumerate(drawn)]),
        "FAMILIES": side_by_side or Html(""),
        "CHOICE": _choice(studies),
        "STUDIES": join(articles),
        "FILES": _files(files),
        "FOOTER": html.escape(_footer(studies)),
        # The data must not contain "<", because a "</script>" in a user's text would end the script element.
        "DATA": json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        "SCRIPT": (HERE / "page.js").read_text(encoding="utf-8"),
    }
    path = out / "report.html"
    path.write_text(fill((HERE / "page.html").read_text(encoding="utf-8"), parts), encoding="utf-8")
    return path


def _navigation(number: int, figures: Figures, families: Html | None) -> Html:
    shown = {name: words for name, words in SECTIONS.items() if name != "survival" or _survival(number, figures)}
    links = [element("a", words, href=f"#{name}-{number}") for name, words in shown.items()]
    first = element("a", "Families", href="#families") if families else None
    files = element("a", "Files", href="#files")
    return element("nav", first, *links, files, aria_label="Sections", data_study=number)


def _choice(studies: list[Study]) -> Html:
    if len(studies) < 2:
        return Html("")
    options = [element("option", study.title, value=i) for i, study in enumerate(studies)]
    return element("p", element("label", "Study ", element("select", options, id="study"), class_="field"))


def _study(number: int, study: Study, stated: list[Statement], figures: Figures, encoded: Sheets) -> Html:
    """Return the article with all sections about one study.

    Args:
        number: The position of the study on the page.
        study: The study to show.
        stated: The statements about the study.
        figures: The figures of the study.
        encoded: The sheets of the study's samples.
    """

    def section(name: str, heading: str | None, *content: Any) -> Html:
        title = element("h2", heading) if heading else None
        return element("section", title, *content, id=f"{name}-{number}", class_=name)

    training = figure(figures.training_sets, f"training-{number}-", "training sets by generation of birth")
    histograms = figure(figures.perplexity, f"perplexity-{number}-", "samples by perplexity under generation 0")
    perplexity = element("div", histograms, class_="figures") if figures.perplexity else None
    who = (
        (figures.detectors, "vetting: errors of the detector by generation"),
        (figures.contamination, "vetting: synthetic share before and after, by generation"),
        (figures.detection, "who made an item: detectors and marks by generation"),
    )
    made = [figure(paths, f"detection-{number}-{i}-", label) for i, (paths, label) in enumerate(who) if paths]
    losses = figure(figures.losses, f"losses-{number}-", "training loss by step, one line per generation")
    return element(
        "article",
        section("summary", None, _summary(study, [*figures.missing, *encoded.notes])),
        section("statements", "Statements", statements(number, stated, figures)),
        section("scores", "Scores", scores(number, study, figures)),
        section("samples", "Samples", samples(number, study, figures, encoded), perplexity),
        section("survival", "Class survival", survival) if (survival := _survival(number, figures)) else None,
        section("training", "What each generation was trained on", element("div", training, losses, class_="figures")),
        section("detection", "Who made it", element("div", made, class_="figures")) if made else None,
        section("provenance", "Provenance", _provenance(study)),
        class_="study",
        data_study=number,
    )


# ---------------------------------------------------------------------------------------------------------- summary


def _summary(study: Study, notes: list[str]) -> Html:
    num_chains = sum(len(by_seed) for by_seed in study.chains.values())
    seeds = ("seeds " if len(study.seeds) > 1 else "seed ") + ", ".join(map(str, study.seeds))
    chains = f"{num_chains} chains" if num_chains > 1 else "1 chain"
    facts = [study.protocol, f"setting {study.hash}", chains, seeds]
    notes = everywhere(
        [*study.notes, *notes], places_of(c for by_seed in study.chains.values() for c in by_seed.values())
    )
    lines = []
    for condition in study.conditions:
        judged = verdict(study, condition)
        lines.append(
            element(
                "div",
                swatch(study, condition),
                element("span", condition.label, class_="name"),
                element("span", judged.badge, class_=f"badge {judged.kind}"),
                element("span", judged.words, class_="words"),
                class_="verdict",
            )
        )
    return join(
        element("p", " · ".join(facts), class_="eyebrow"),
        element("h1", study.title),
        element("p", summary(study), class_="lead"),
        element("div", lines, class_="verdicts"),
        element("p", RULE, class_="hint"),
        element("ul", [element("li", line) for line in notes], class_="notes"),
    )


def _survival(number: int, figures: Figures) -> Html | None:
    drawings = dict.fromkeys(path.stem for path in figures.survival)
    files = [[path for path in figures.survival if path.stem == stem] for stem in drawings]
    shown = [figure(paths, f"survival-{number}-{i}-", "class survival") for i, paths in enumerate(files)]
    shown = [drawn for drawn in shown if drawn is not None]
    return element("div", shown, class_="figures") if shown else None


# ------------------------------------------------------------------------------------------------ provenance, files


def _provenance(study: Study) -> Html:
    hint = element("p", "One entry per chain: its command, hardware, versions and configuration.", class_="hint")
    return join(hint, [_chain(chain) for by_seed in study.chains.values() for chain in by_seed.values()])


def _chain(chain: Chain) -> Html:
    facts = chain_facts(chain)
    minutes = sum(chain_seconds(chain).values()) / 60
    command = chain.rows[-1].environment.get("command") or "not known"
    facts, command, config = everywhere([facts, command, chain.rows[-1].config], places_of([chain]))
    config = json.dumps(config, indent=2, ensure_ascii=False)
    return element(
        "details",
        element("summary", chain.id, element("small", f"{facts['generations']} · {minutes:.0f} min of computing")),
        element(
            "div", element("pre", command), element("button", "Copy", type="button", class_="copy"), class_="command"
        ),
        element("dl", [(element("dt", name), element("dd", value)) for name, value in facts.items()], class_="facts"),
        element("details", element("summary", "Configuration"), element("pre", config, tabindex=0)),
        class_="chain",
    )


def _files(files: dict[str, str]) -> Html:
    links = []
    for name, body in files.items():
        address = f"data:text/plain;charset=utf-8;base64,{base64.b64encode(body.encode()).decode()}"
        links.append(element("a", f"Download {name}", download=name, href=address, class_="button"))
    tables_text = element("pre", files["tables.md"], id="markdown", tabindex=0)
    return join(
        element("div", links, class_="controls"),
        element("details", element("summary", "Show the main tables as text"), tables_text),
    )


def _footer(studies: list[Study]) -> str:
    last = max(row.finished_at for study in studies for row in study.rows)
    return f"Made from ledgers and stored samples; the last row was written at {last}. This page loads nothing else."
