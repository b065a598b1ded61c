"""From the results of one generation to its ledger row, its probe picture and its line on the console."""

import logging
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from bench import environment, ledger
from bench.composition import Composition
from bench.config import Config, config_hash, to_dict
from bench.ledger import Row
from bench.mixing import History
from bench.stages import Workshop
from bench.store import Result

log = logging.getLogger(__name__)


def make_row(
    config: Config,
    chain: str,
    generation: int,
    composition: Composition,
    history: History,
    results: dict[str, Result],
    shop: Workshop,
    wall_seconds: float,
    scores: list[dict],
) -> Row:
    """Everything needed to cite the scores of one generation. The stages' own seconds are those of whoever computed
    them; `wall_seconds` is what this run spent: near nothing where all was stored."""
    train, sample, score = results["train"], results["sample"], results["score"]
    paths = {name: result.path.relative_to(shop.store.root).as_posix() for name, result in results.items()}
    return Row(
        chain=chain,
        sweep=config.name,
        generation=generation,
        seed=config.seed,
        policy=config.mixing.policy,
        dataset=getattr(config.data, "kind", config.data.name),
        generator=config.generator.name,
        composition=composition.counts(history.real, history.reserve),
        scores=scores,
        train=train.facts,
        sample=sample.facts,
        score=score.facts,
        artifacts={
            **paths,
            "model": f"{paths['train']}/model",
            "samples": f"{paths['sample']}/pool",
            "probes": f"{paths['sample']}/probes.npy",
        },
        store_dir=str(Path(config.store_dir).resolve()),
        config=to_dict(config),
        config_hash=config_hash(config),
        protocol=to_dict(config.protocol),
        environment={**environment.describe(), **shop.runtime.facts()},
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        wall_seconds=round(wall_seconds, 3),
    )


def record(directory: Path, row: Row, probes: np.ndarray) -> None:
    """Appends the row, unless the ledger has this generation from the same results; writes the probe picture.

    A ledger that has this generation from other results (newer code, or a data file that changed under its name) is
    moved aside, and said so; the generations before it, which are the same, are carried over.
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
    grid(probes).save(picture)


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"superseded-{number}.jsonl")).exists():
        number += 1
    return aside


def grid(images: np.ndarray, min_side: int = 64) -> Image.Image:
    """uint8 (N, 3, H, H) as one near-square picture; small images enlarged by whole factors."""
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    side = images.shape[-1]
    canvas = np.full((rows * (side + 1), columns * (side + 1), 3), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = (i // columns) * (side + 1), (i % columns) * (side + 1)
        canvas[top : top + side, left : left + side] = image.transpose(1, 2, 0)
    factor = max(1, math.ceil(min_side / side))
    picture = Image.fromarray(canvas)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def summary(row: Row, reused: bool) -> str:
    """One line: who, on what, and the scores of the samples."""
    scores = [s for s in row.scores if s["subject"] == "samples" and s["reference"] == "heldout"]
    shown = " ".join(f"{s['metric']} {s['value']:.3g}" for s in scores if s["metric"] in ("fid", "precision", "recall"))
    origin = "from the store" if reused else f"{row.wall_seconds:.0f} s"
    ratio = f"{row.composition['synthetic_ratio']:.2f} synthetic"
    return f"{row.chain} · generation {row.generation}: {ratio} · {shown} · {origin}"
