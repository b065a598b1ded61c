"""`python -m bench.audit [--deep] RUN…`: recounts what finished chains were trained on, and fails on any mismatch.

A row that was changed after it was written is an error, and so is a result whose files differ from the recorded ones.

The ledger's ratios are derived from counts taken when a generation was composed. The audit trusts neither the ratios
nor the counts: it reads the list of (pool, row) pairs stored beside each model, opens those pools, and counts from the
records of the items. It also composes every generation again from the recorded configuration, which must give the same
pairs.

With `--deep` an independent witness (`bench.witness`), which shares only the code that reads files, recomputes
everything that can be recomputed: seeds, compositions, a few samples of each generation, the weights of short
trainings, all scores, and the results card.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench import ledger, registry
from bench.composition import Composition, Part, PoolRef
from bench.config import config_hash
from bench.errors import BenchError, DataError
from bench.ledger import Chain, Row
from bench.machine.pipes import exit_with
from bench.mixing import compose, resolve
from bench.mixing.shared.history import History
from bench.pool import REAL, TAKEN_FOR_REAL, Pool, content_id
from bench.registry import NONE
from bench.seeds import derive_seed
from bench.store import Store
from bench.store.result_files import Damaged
from bench.store.stage_files import REQUIRED
from bench.vetting import Decision, facts, unused_rows


def audit_chain(chain: Chain) -> list[str]:
    """Return the problems of a chain, one sentence each; an empty list if the recount confirms every number."""
    problems: list[str] = []
    synthetic: dict[int, Pool] = {}
    for row in chain.rows:
        store = Path(row.store_dir)
        try:
            samples = Pool.load(store / row.artifacts["samples"])
            earlier = dict(synthetic)
            synthetic[row.generation] = samples
            problems += [f"{chain.id} generation {row.generation}: {p}" for p in audit_row(row, store, earlier)]
        except (BenchError, KeyError, TypeError, OSError, ValueError) as error:
            problems.append(f"{chain.id} generation {row.generation}: cannot be audited: {error}")
    return problems


def audit_row(row: Row, store: Path, synthetic: dict[int, Pool]) -> list[str]:
    """Return the problems of one generation. synthetic: generation -> sample pool, for all earlier generations whose
    pools can be read."""
    real_folder = store / row.artifacts["real"]
    train, heldout = Pool.load(real_folder / "train"), Pool.load(real_folder / "heldout")
    reserve = Pool.load(real_folder / "reserve") if (real_folder / "reserve").exists() else None
    believed, unlike = audit_join(row, store, train)
    known = {pool.id: pool for pool in (believed, reserve, *synthetic.values()) if pool}
    trained_on = Composition.load(store / row.artifacts["train"])
    drawn, problems = audit_vetting(row, store, trained_on, believed, known)
    problems = audit_identity(row) + audit_contents(row, store) + audit_selection(row, store) + unlike + problems
    problems += audit_remedy(row, store)
    births: list[np.ndarray] = []
    forbidden = set(heldout.records.source_id.tolist())
    for part in drawn.parts:
        pool = known.get(part.pool.id)
        if pool is None:
            what = "the held-out pool" if part.pool.id == heldout.id else "a pool that this chain did not make"
            if part.pool.generation not in (REAL, *synthetic):
                what = f"generation {part.pool.generation}, whose samples cannot be read"
            problems.append(f"trained on {len(part.rows)} items of {what}")
            continue
        records = pool.records.take(part.rows)
        births.append(records.generation)
        leaked = forbidden.intersection(records.source_id[~records.is_synthetic].tolist())
        if leaked:
            problems.append(f"trained on {len(leaked)} held-out items, among them {min(leaked)!r}")
    if not births or len(births) < len(drawn.parts):
        return problems
    generation = np.concatenate(births)
    if (generation >= row.generation).any():
        problems.append("trained on items of its own or of a later generation")
    counted = drawn.counts(PoolRef.of(believed, REAL), PoolRef.of(reserve, REAL) if reserve else None)
    problems += differences(row.composition, counted | recount(generation, len(believed)))
    all_are_here = len(synthetic) == row.generation
    if all_are_here and recompose(row, believed, reserve, synthetic).id != drawn.id:
        problems.append(f"policy {row.policy} with seed {row.seed} composes another training set than the stored one")
    return problems


def audit_join(row: Row, store: Path, train: Pool) -> tuple[Pool, list[str]]:
    """Return the pool that the chain uses as its real pool, and every contradiction with its records or the ledger. A
    newcomer's pool is gathered again from the real pool `train` and the samples of the earlier chain."""
    if "join" not in row.artifacts:
        asked = row.config.get("join", {}).get("chain")
        return train, [f"it joins {asked} and left no result"] if asked else []
    pool, drawn = Pool.load(store / row.artifacts["join"] / "pool"), Composition.load(store / row.artifacts["join"])
    samples = [Pool.load(Path(row.joined["store_dir"]) / path) for path in row.joined["samples"]]
    sources = {one.id: one for one in (train, *samples)}
    births, asked = drawn.births(sources), row.config["join"]
    num, last = int((births != REAL).sum()), asked["generation"]
    meant = np.arange(0 if asked["samples_of"] == "all" else last, last + 1)
    true = {
        "what it takes for real is not what was drawn for it": np.array_equal(
            drawn.items(sources)[np.arange(len(drawn))], pool.items
        ),
        "its records do not say which items are samples that it takes for real": np.array_equal(
            np.where(births == REAL, REAL, TAKEN_FOR_REAL), pool.records.generation
        ),
        f"it counts samples of generations {np.unique(births).tolist()} as real": np.isin(births, [REAL, *meant]).all(),
        f"it counts {num} samples among its {len(pool)} items as real": len(pool) == len(train)
        and num == round(row.joined["ratio"] * len(train)),
    }
    ratio = row.joined["ratio"] if asked["ratio"] is None else asked["ratio"]
    stated = {"generation": last, "num_samples": num, "ratio": ratio}
    return pool, [problem for problem, is_true in true.items() if not is_true] + differences(row.joined, stated)


def audit_vetting(
    row: Row, store: Path, trained_on: Composition, believed: Pool, known: dict[str, Pool]
) -> tuple[Composition, list[str]]:
    """Return the composition before vetting, and every disagreement between the stored decision, the training set and
    the ledger. Without vetting, the composition is `trained_on`.

    Args:
        row: The row to audit.
        store: The root of the store.
        trained_on: The stored training set.
        believed: The pool that the chain uses as its real pool.
        known: All pools by id, `believed` included.
    """
    if "vet" not in row.artifacts:
        asked = row.config.get("vetting", {}).get("name", NONE)
        return trained_on, [f"vetting {asked} left no result"] if asked != NONE else []
    folder = store / row.artifacts["vet"]
    drawn, kept = Composition.load(folder / "drawn"), np.load(folder / "kept.npy", allow_pickle=False)
    if kept.shape != (len(drawn),):
        return drawn, [f"the stored vetting decided on {len(kept)} items, but {len(drawn)} were drawn"]
    scores = np.load(folder / "scores.npy", allow_pickle=False) if (folder / "scores.npy").exists() else None
    threshold = row.vetting.get("threshold")
    problems = []
    if scores is not None and not np.array_equal(kept, scores <= threshold):
        problems.append("the stored vetting did not drop the items that its scores name")
    left = [*drawn.kept(kept).parts] if kept.any() else []
    if row.config["vetting"].get("refill"):
        seed, real = derive_seed(row.config["seed"], row.generation, "refill"), PoolRef.of(believed, REAL)
        left.append(Part(real, unused_rows(drawn, real, int((~kept).sum()), seed)))
    if Composition(tuple(left)).id != trained_on.id:
        problems.append("the training set is not what the stored vetting kept of the composition")
    if any(part.pool.id not in known for part in (*drawn.parts, *trained_on.parts)):
        return drawn, problems  # `audit_row` reports the items of unknown pools
    counted = facts(drawn, Decision(kept, scores, threshold), trained_on, known)
    return drawn, problems + differences(row.vetting, counted)


def audit_selection(row: Row, store: Path) -> list[str]:
    """Return every disagreement between the stored selection, its candidates and the generation's pool."""
    if "select" not in row.artifacts:
        asked = row.config.get("selection", {}).get("name", NONE)
        return [f"selection {asked} left no result"] if asked != NONE else []
    rows = np.load(store / row.artifacts["select"] / "rows.npy", allow_pickle=False)
    candidates = Pool.load(store / row.artifacts["sample"] / "pool")
    samples = Pool.load(store / row.artifacts["samples"])
    problems = differences(row.selection, {"num_candidates": len(candidates), "num_kept": len(samples)})
    if (
        len(np.unique(rows)) < len(rows)
        or content_id(candidates.items[rows], candidates.records.take(rows)) != samples.id
    ):
        problems.append("the pool is not what the stored selection kept of the candidates")
    return problems


def audit_remedy(row: Row, store: Path) -> list[str]:
    """Return every disagreement between the stored remedy, its configuration and the ledger."""
    about = row.config.get("remedy", {})
    if "remedy" not in row.artifacts:
        asked = about.get("name", NONE)
        return [f"remedy {asked} left no result"] if asked != NONE else []
    own = Pool.load(store / row.artifacts["remedy"] / "own")
    problems = [] if (own.records.generation == row.generation).all() else ["its remedy trained on others' samples"]
    counted = {"rule": about["name"], "num_samples": len(own), "num_steps": about["num_steps"]}
    return problems + differences(row.remedy, counted)


def audit_contents(row: Row, store: Path) -> list[str]:
    """Return one problem for each result whose files differ from its manifest or from the checksum in the row, or that
    lacks a file that its stage requires. Rows of older versions have no checksums, so their results are compared only
    with their manifests."""
    problems = []
    for name in (
        name
        for name in ("real", "join", "vet", "train", "remedy", "sample", "select", "score")
        if name in row.artifacts
    ):
        stage, _, digest = Path(row.artifacts[name]).parts
        try:
            result = Store(store, required=REQUIRED).open(f"{stage}/{digest}")
        except Damaged as damage:
            problems.append(f"its result {row.artifacts[name]} is damaged: {damage}")
            continue
        if result and row.checksums and result.checksum != row.checksums.get(name):
            problems.append(f"its result {row.artifacts[name]} is not the one that was recorded: its files differ")
    return problems


def differences(stated: dict[str, Any], counted: dict[str, Any]) -> list[str]:
    """Return one sentence for each value in the ledger that the recount does not confirm."""
    return [
        f"{name} is {stated.get(name)!r} in the ledger and {value!r} by recount"
        for name, value in counted.items()
        if stated.get(name) != value
    ]


def audit_identity(row: Row) -> list[str]:
    """Return one sentence for each of seed, policy and configuration hash that contradicts the recorded configuration.
    Tables are grouped by the first two."""
    config = row.config
    stated = {"seed": row.seed, "policy": row.policy, "config_hash": row.config_hash}
    meant = {"seed": config["seed"], "policy": config["mixing"]["policy"], "config_hash": config_hash(config)}
    return [
        f"{k} is {stated[k]!r} in the ledger and {meant[k]!r} by its configuration"
        for k in stated
        if stated[k] != meant[k]
    ]


def recompose(row: Row, train: Pool, reserve: Pool | None, synthetic: dict[int, Pool]) -> Composition:
    """Return the composition that the recorded policy and seed draw for this generation from the chain's pools."""
    num_free = (len(reserve) if reserve else 0) - row.vetting.get("num_calibration", 0)
    history = History(
        generation=row.generation,
        real=PoolRef.of(train, REAL),
        reserve=PoolRef(reserve.id, num_free, REAL) if reserve and num_free else None,
        synthetic=tuple(PoolRef.of(pool, generation) for generation, pool in sorted(synthetic.items())),
        budget=len(train),
        seed=row.config["seed"],
    )
    schema = registry.schema("mixing", row.config["mixing"]["policy"])
    if schema is None:
        raise DataError(f"mixing.policy={row.config['mixing']['policy']!r}: this version has no such policy")
    return compose(resolve(schema(**row.config["mixing"])), history)


def recount(generation: np.ndarray, num_real_available: int) -> dict[str, Any]:
    """Return counts and ratios. generation: the generation of birth of every training item, int (N,)."""
    births, numbers = np.unique(generation, return_counts=True)
    num_real = int((generation == REAL).sum())
    num_synthetic = len(generation) - num_real
    return {
        "num_real": num_real,
        "num_synthetic": num_synthetic,
        "per_generation": {str(b): int(n) for b, n in zip(births, numbers, strict=True)},
        "synthetic_ratio": num_synthetic / len(generation),
        "synthetic_per_real": num_synthetic / num_real_available,
    }


def testify(chains: list[Chain], runs: list[Path], num_samples: int, max_steps: int) -> tuple[list[str], list[str]]:
    """Return the mismatches that the witness finds, and what it could not recompute.

    Args:
        chains: The chains to recompute.
        runs: The paths of the chains. The results cards to check are those that a report would write for the chains
            now, and those in the reports' folders.
        num_samples: The number of samples of each generation to recompute.
        max_steps: The number of steps above which a training is not replayed.
    """
    from bench.analysis.results_card import card, load
    from bench.analysis.study import studies
    from bench.report.__main__ import default_out
    from bench.witness import statements
    from bench.witness.chain import Witness

    problems: list[str] = []
    unchecked: dict[str, None] = {}
    for chain in chains:
        witness = Witness(num_samples, max_steps)
        for row in chain.rows:
            witness.examine(row)
        problems += witness.problems
        unchecked |= dict.fromkeys(witness.unchecked)
    for study in studies(chains):
        problems += [f"{study.title}: {problem}" for problem in statements.examine(card(study), chains)]
    for path in sorted({file for run in runs for file in default_out(run).glob("*card.json")}):
        body = load(path)
        if {member["id"] for condition in body["conditions"] for member in condition["chains"]} <= {
            c.id for c in chains
        }:
            problems += [f"{path}: {problem}" for problem in statements.examine(body, chains)]
        else:
            unchecked[f"{path}: it also describes chains that were not given"] = None
    return problems, list(unchecked)


def main(arguments: list[str] | None = None) -> int:
    """Run the audit and return the exit status: 0: no mismatch; 1: a mismatch; 2: the audit could not be done."""
    parser = argparse.ArgumentParser(prog="python -m bench.audit", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="a chain's folder, or one above several")
    parser.add_argument("--deep", action="store_true", help="derive samples, weights, scores and verdicts again")
    parser.add_argument("--num-samples", type=int, default=3, help="samples made again of each generation (default 3)")
    parser.add_argument("--max-steps", type=int, default=200, help="longer trainings are not replayed (default 200)")
    options = parser.parse_args(arguments)
    unchecked: list[str] = []
    try:
        chains = ledger.read_runs(options.runs)
        problems = [problem for chain in chains for problem in audit_chain(chain)]
        if options.deep:
            found, unchecked = testify(chains, options.runs, options.num_samples, options.max_steps)
            problems += found
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for problem in problems:
        print(f"MISMATCH {problem}")
    for what in unchecked:
        print(f"NOT CHECKED {what}")
    rows = sum(len(chain.rows) for chain in chains)
    how = "audited and derived again" if options.deep else "audited"
    print(f"{len(chains)} chains, {rows} generations {how}: {len(problems)} mismatches")
    return 1 if problems else 0


if __name__ == "__main__":
    exit_with(main)
