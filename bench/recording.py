"""Record the results of one generation: its ledger row, the file that shows its probes, and its console line."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import ledger, protocols, registry, scatter
from bench.analysis import shown
from bench.analysis.measures import MAIN_METRICS, metric_name
from bench.analysis.plain_text import number
from bench.code_versions import code_versions
from bench.config import Config, DataConfig, GeneratorConfig, chain_id, config_hash, to_dict
from bench.errors import DataError
from bench.files import sha256_of
from bench.kinds import POINTS, TOKENS, kind_of
from bench.ledger import Row
from bench.machine import environment
from bench.stages import StageContext, read_scores
from bench.store import Result, lease

log = logging.getLogger(__name__)


def name_of(component: DataConfig | GeneratorConfig) -> str:
    """Return the name of a data set or generator in the ledger: its own name, or that of a user-defined module."""
    return getattr(component, "module", component.name)


def make_row(
    config: Config,
    context: StageContext,
    generation: int,
    counts: dict[str, Any],
    results: dict[str, Result],
    wall_seconds: float,
) -> Row:
    """Return the ledger row of one generation: everything that is needed to cite its scores.

    Args:
        config: The chain's configuration.
        context: The runtime and the store.
        generation: The number of the generation.
        counts: The counts of its composition, as the mixing policy drew it.
        results: Stage -> result. The seconds in a result are those of the run that computed it.
        wall_seconds: The seconds that this run spent on the generation.
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
            "model": f"{paths.get('remedy', paths['train'])}/model",
            "samples": f"{paths.get('select', paths['sample'])}/pool",
            "probes": f"{paths['sample']}/probes.npy",
        },
        store_dir=str(Path(config.store_dir).resolve()),
        config=to_dict(config),
        config_hash=config_hash(config),
        protocol=protocols.facts(config),
        environment={**environment.describe(), "command": environment.command(), **context.runtime.facts()}
        | {"data_content": results["real"].facts.get("content"), "data_kind": results["real"].facts.get("kind")}
        | ({"data_notes": notes} if (notes := results["real"].facts.get("notes")) else {}),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        wall_seconds=round(wall_seconds, 3),
        vetting=results["vet"].facts if "vet" in results else {},
        selection=results["select"].facts if "select" in results else {},
        remedy=results["remedy"].facts if "remedy" in results else {},
        joined=results["join"].facts if "join" in results else {},
        code=code_versions(config),
        checksums={
            **{name: result.checksum for name, result in results.items()},
            "probes": sha256_of(sample.path / "probes.npy"),
        },
    )


def record(directory: Path, row: Row, probes: np.ndarray) -> None:
    """Append the row, unless the ledger has this generation from the same results. Write the file that shows the
    probes.

    Two processes that run the same chain at the same time do this one after the other, and both find the row in the
    end. A ledger that has this generation from other results (newer code, or a data file whose content changed) is
    moved aside with a warning. The rows of the generations before it, which are the same, are copied to the new ledger.
    """
    path = directory / ledger.FILENAME
    with lease.hold(path.with_suffix(".lock"), path.name, user=row.chain):
        known = ledger.read(path) if path.exists() else []
        same = [r for r in known if r.generation == row.generation]
        if not same:
            ledger.append(path, row)
        elif not from_same_results(same[0], row):
            aside = _free_name(path)
            log.warning("%s holds other results for generation %d: moved to %s", path, row.generation, aside.name)
            path.rename(aside)
            for earlier in [r for r in known if r.generation < row.generation]:
                ledger.append(path, earlier)
            ledger.append(path, row)
        show(directory, row, probes)


def show(directory: Path, row: Row, probes: np.ndarray) -> None:
    """Write the file that shows the probes of a generation: a picture of images or points, or a text. Points are drawn
    over their true density if the data set's module has `true_risk`, and tokens become text if it has `decode`."""
    kind, checksum = kind_of(probes), row.checksums.get("probes", "")
    path = shown.shown_at(directory, row.generation, ".txt" if kind is TOKENS else ".png")
    path.parent.mkdir(exist_ok=True)
    if kind is TOKENS:
        path.write_text(shown.to_file(_decoded(probes, row), checksum), encoding="utf-8")
        return
    if kind is POINTS and (real := shown.real_points(row, directory)) is not None:
        known = directory / shown.FOLDER / shown.PLANE
        if row.generation == 0 or not known.exists():
            risk = _of_data(row, "true_risk")
            shown.save_plane(scatter.plane(real, risk), directory)
    shown.picture(probes, row, directory).save(path)


def _decoded(tokens: np.ndarray, row: Row) -> list[str]:
    """Return sequences of tokens, int32 (n, L), as texts: decoded by the data set's module if it can, otherwise as
    numbers. Raises `DataError` if the module returns another number of texts."""
    decode = _of_data(row, "decode")
    texts = shown.ids(tokens) if decode is None else [str(text) for text in decode(tokens)]
    if len(texts) != len(tokens):
        raise DataError(f"decode of data={row.dataset} returned {len(texts)} texts of {len(tokens)} sequences")
    return texts


def _of_data(row: Row, name: str) -> Callable[[np.ndarray], Any] | None:
    """Return the function `name` of the module of a row's data set, bound to its configuration; None if the module does
    not have it."""
    chosen = row.config.get("data", {})
    schema = registry.schema("data", chosen.get("name", ""))
    if schema is None:
        return None
    module, own = registry.module_and_config("data", registry.typed(schema, chosen, "data"), ())
    return partial(getattr(module, name), own) if hasattr(module, name) else None


def from_same_results(known: Row, row: Row) -> bool:
    """Return whether two rows of a generation were made from the same results, with the same checksums if both rows
    state them. A result that was lost and recomputed on another kind of processor has the same name but may have other
    bytes."""
    both = known.checksums.keys() & row.checksums.keys()
    return known.artifacts == row.artifacts and all(known.checksums[name] == row.checksums[name] for name in both)


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"superseded-{number}.jsonl")).exists():
        number += 1
    return aside


def summary(row: Row, reused: bool) -> str:
    """Return the console line of a generation: the chain, the composition, and the main scores of the samples."""
    scores = [s for s in row.scores if s["subject"] == "samples" and s["reference"] == "heldout"]
    scores = [s for s in scores if s["feature_space"] in (scores[0]["feature_space"], "model")]
    shown = " ".join(
        f"{metric_name(metric)} {number(s['value'])}"
        for metric in MAIN_METRICS
        for s in scores
        if s["metric"] == metric
    )
    origin = "from the store" if reused else f"{row.wall_seconds:.0f} s"
    ratio = f"{row.composition['synthetic_ratio']:.2f} synthetic"
    return f"{row.chain} · generation {row.generation}: {ratio} · {shown} · {origin}"
