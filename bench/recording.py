"""From the results of one generation to its ledger row, its probe picture and its line on the console."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench import ledger
from bench.analysis.measures import MAIN_METRICS, metric_name
from bench.config import Config, DataConfig, GeneratorConfig, chain_id, config_hash, to_dict
from bench.kinds import kind_of
from bench.ledger import Row
from bench.machine import environment
from bench.stages import StageContext, read_scores
from bench.store import Result

log = logging.getLogger(__name__)


def name_of(component: DataConfig | GeneratorConfig) -> str:
    """Return what a data set or generator is called in the ledger: its name, or the user's module."""
    return getattr(component, "module", component.name)


def make_row(
    config: Config,
    context: StageContext,
    generation: int,
    counts: dict[str, Any],
    results: dict[str, Result],
    wall_seconds: float,
) -> Row:
    """Return everything needed to cite the scores of one generation.

    Args:
        config: Of the chain.
        context: The runtime and the store.
        generation: Its number.
        counts: Of its composition, as the mixing policy drew it.
        results: By stage. Their own seconds are those of whoever computed them.
        wall_seconds: What this run spent.
    """
    train, sample, score = results["train"], results["sample"], results["score"]
    paths = {name: result.path.relative_to(context.store.root).as_posix() for name, result in results.items()}
    return Row(
        chain=chain_id(config),
        sweep=config.name,
        generation=generation,
        seed=config.seed,
        policy=config.mixing.policy,
        dataset=getattr(config.data, "kind", name_of(config.data)),
        generator=name_of(config.generator),
        composition=counts,
        scores=read_scores(score),
        train=train.facts,
        sample=sample.facts,
        score=score.facts,
        artifacts={
            **paths,
            "model": f"{paths['train']}/model",
            "samples": f"{paths.get('select', paths['sample'])}/pool",
            "probes": f"{paths['sample']}/probes.npy",
        },
        store_dir=str(Path(config.store_dir).resolve()),
        config=to_dict(config),
        config_hash=config_hash(config),
        protocol={k: v for k, v in to_dict(config.protocol).items() if k in ("name", "version", "deviations")},
        environment={**environment.describe(), "command": environment.command(), **context.runtime.facts()},
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        wall_seconds=round(wall_seconds, 3),
        vetting=results["vet"].facts if "vet" in results else {},
        selection=results["select"].facts if "select" in results else {},
    )


def record(directory: Path, row: Row, probes: np.ndarray) -> None:
    """Appends the row, unless the ledger has this generation from the same results; writes the probe picture.

    A ledger that has this generation from other results (newer code, or a data file that changed under its name) is
    moved aside with a warning; the generations before it, which are the same, are carried over.
    """
    path = directory / ledger.FILENAME
    known = ledger.read(path) if path.exists() else []
    same = [r for r in known if r.generation == row.generation]
    if not same:
        ledger.append(path, row)
    elif same[0].artifacts != row.artifacts:
        aside = _free_name(path)
        log.warning("%s holds other results for generation %d: moved to %s", path, row.generation, aside.name)
        path.rename(aside)
        for earlier in [r for r in known if r.generation < row.generation]:
            ledger.append(path, earlier)
        ledger.append(path, row)
    picture = directory / "probes" / f"generation_{row.generation:04d}.png"
    picture.parent.mkdir(exist_ok=True)
    kind_of(probes).preview(probes).save(picture)


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"superseded-{number}.jsonl")).exists():
        number += 1
    return aside


def summary(row: Row, reused: bool) -> str:
    """One line: who, on what, and the scores of the samples."""
    scores = [s for s in row.scores if s["subject"] == "samples" and s["reference"] == "heldout"]
    shown = " ".join(
        f"{metric_name(metric)} {s['value']:.3g}" for metric in MAIN_METRICS for s in scores if s["metric"] == metric
    )
    origin = "from the store" if reused else f"{row.wall_seconds:.0f} s"
    ratio = f"{row.composition['synthetic_ratio']:.2f} synthetic"
    return f"{row.chain} · generation {row.generation}: {ratio} · {shown} · {origin}"
