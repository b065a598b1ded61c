"""One HTML page that holds everything: opens from the file system, asks nothing of any network."""

import html
import json
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.colors import to_hex

from bench.analysis.study import Study
from bench.analysis.verdicts import RULE, summary, verdict
from bench.ledger import Chain
from bench.report import sheets
from bench.report.tables import Table, metric_name, tables

HERE = Path(__file__).parent


def page(found: list[Study], files: dict[str, str], missing: list[str], out: Path) -> Path:
    """Writes `report.html` into `out`. files: name -> text, offered for download; missing: said among the notes."""
    pictures: list[str] = []
    data = {
        "studies": [_study(study, pictures, sheets.BUDGET // len(found), missing) for study in found],
        "pictures": pictures,
        "files": files,
        "footer": _footer(found),
    }
    parts = {
        "%TITLE%": html.escape(" · ".join(study.title for study in found)),
        "%STYLE%": (HERE / "page.css").read_text(encoding="utf-8"),
        "%SCRIPT%": (HERE / "page.js").read_text(encoding="utf-8"),
        # No "<" inside the data: a "</script>" in somebody's text would end it.
        "%DATA%": json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
    }
    text = (HERE / "page.html").read_text(encoding="utf-8")
    for mark, body in parts.items():
        text = text.replace(mark, body, 1)
    path = out / "report.html"
    path.write_text(text, encoding="utf-8")
    return path


def _study(study: Study, pictures: list[str], budget: int, missing: list[str]) -> dict[str, Any]:
    shown = sheets.build(study, pictures, budget)
    all_tables = tables(study)
    conditions = study.conditions
    births = sorted({int(g) for row in study.rows() for g in row.composition["per_generation"]})
    measures = [table.measure for table in all_tables]
    plane = [study.primary(name) for name in ("precision", "recall")]
    return {
        "title": study.title,
        "protocol": study.protocol,
        "hash": study.hash,
        "lead": summary(study),
        "rule": RULE,
        "notes": [*study.notes, *missing, *shown.notes],
        "numChains": sum(len(seeds) for seeds in study.chains.values()),
        "seedsText": "seeds " + ", ".join(map(str, study.seeds)),
        "byRatio": study.by_ratio,
        "head": "synthetic ratio" if study.by_ratio else "mixing policy",
        "generations": study.generations,
        "lastCommon": study.generations.index(study.last_common or study.generations[-1]),
        "seeds": study.seeds,
        "conditions": [
            {
                "label": c.label,
                "policy": c.policy,
                "ratio": c.ratio,
                "seeds": list(study.chains[c]),
                "verdict": vars(verdict(study, c)),
                "light": _ramp("viridis", 0.8, 0.0, i, len(conditions)),
                "dark": _ramp("viridis", 0.42, 0.98, i, len(conditions)),
            }
            for i, c in enumerate(conditions)
        ],
        "origins": [
            {
                "label": "real images" if birth < 0 else f"samples of generation {birth}",
                "light": _ramp("YlOrBr", 0.3, 0.85, i, len(births)),
                "dark": _ramp("YlOrBr", 0.35, 0.75, i, len(births)),
            }
            for i, birth in enumerate(births)
        ],
        "measures": [_measure(table) for table in all_tables],
        "values": [_values(study, table) for table in all_tables],
        "plane": [measures.index(m) if m else None for m in plane],
        "compositions": [_compositions(study, c, births) for c in conditions],
        "pictures": {
            "count": shown.count,
            "side": shown.side,
            "sheets": shown.sheets,
            "neighbours": shown.has_neighbours,
        },
        "chains": [_chain(chain) for seeds in study.chains.values() for chain in seeds.values()],
    }


def _ramp(name: str, start: float, end: float, i: int, n: int) -> str:
    return to_hex(matplotlib.colormaps[name](start + (end - start) * i / max(1, n - 1)))


def _measure(table: Table) -> dict[str, Any]:
    m = table.measure
    parameters = json.loads(m.parameters)
    given = ", ".join(f"{k} = {v}" for k, v in parameters.items())
    return {
        "name": metric_name(m.metric),
        "title": table.name + (f" ({given})" if given else ""),
        "direction": m.direction,
        "featureSpace": m.feature_space,
        "reference": m.reference,
        "num": f"N = {m.num_subject}",
        "sizes": m.sizes,
        "floor": table.study.floor(m),
        "baselines": table.baselines,
        "cells": [[[c.mean, c.half_width] if c else None for c in line.cells] for line in table.lines],
        "best": [line.is_best for line in table.lines],
    }


def _values(study: Study, table: Table) -> list[list[list[float | None]]]:
    """[condition][seed][generation]"""
    out = []
    for condition, chains in study.chains.items():
        at = [study.values(condition, g, table.measure) for g in study.generations]
        out.append([[values.get(seed) for values in at] for seed in chains])
    return out


def _compositions(study: Study, condition: Any, births: list[int]) -> list[list[int] | None]:
    """[generation][birth]: numbers of images in the training set of the longest chain."""
    rows = {row.generation: row for row in study.longest(condition).rows}
    counts = {g: {int(b): n for b, n in row.composition["per_generation"].items()} for g, row in rows.items()}
    return [[counts[g].get(b, 0) for b in births] if g in counts else None for g in study.generations]


def _chain(chain: Chain) -> dict[str, Any]:
    first, last = chain.rows[0], chain.rows[-1]
    about = last.environment
    versions = {k: v for k, v in about.get("versions", {}).items() if v}
    seconds = {
        name: sum(getattr(row, name).get("seconds", 0) for row in chain.rows) for name in ("train", "sample", "score")
    }
    facts = {
        "sweep": last.sweep,
        "policy": last.policy,
        "seed": last.seed,
        "generations": f"generations {first.generation} to {last.generation}",
        "configuration hash": last.config_hash,
        "code revision": about.get("code_revision") or "not known",
        "device": f"{about.get('device', 'not known')}, {about.get('precision', '')}".rstrip(", "),
        "platform": about.get("platform", "not known"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()) or "not known",
        "seconds": ", ".join(f"{name} {value:.0f}" for name, value in seconds.items()),
        "images seen in training": f"{sum(row.train.get('images_seen', 0) for row in chain.rows):,}",
        "finished": last.finished_at,
        "ledger": str(chain.directory / "ledger.jsonl"),
        "store": last.store_dir,
    }
    if last.protocol.get("deviations"):
        facts["deviations from the protocol"] = json.dumps(last.protocol["deviations"], ensure_ascii=False)
    return {
        "id": chain.id,
        "brief": f"{facts['generations']} · {sum(seconds.values()) / 60:.0f} min of computing",
        "command": about.get("command", "not known"),
        "facts": facts,
        "config": last.config,
    }


def _footer(found: list[Study]) -> str:
    last = max(row.finished_at for study in found for row in study.rows())
    return (
        f"Made from ledgers only; the last row was written at {last}. Nothing in this page is fetched from elsewhere."
    )
