"""`python -m bench.audit [--deep] RUN…`: recounts what finished chains were trained on, and fails on any mismatch.

The ledger's ratios are derived from counts taken when a generation was composed. The audit trusts neither: it takes the
list of (pool, row) pairs stored beside each model, opens those pools, and counts from the images' own records. It also
composes every generation again from the recorded configuration, which must give the same pairs.

With `--deep` a witness that shares no code with the benchmark (`bench.witness`) derives everything again that can be:
seeds, compositions, a few samples of each generation, the weights of short trainings, all scores, the results card.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench import ledger
from bench.composition import Composition, PoolRef
from bench.config import SCHEMAS, config_hash
from bench.errors import BenchError
from bench.ledger import Chain, Row
from bench.mixing import History, compose, resolve
from bench.pool import REAL, Pool


def audit_chain(chain: Chain) -> list[str]:
    """What is wrong with a chain, one sentence each; empty where every number can be recounted."""
    problems: list[str] = []
    synthetic: dict[str, Pool] = {}
    for row in chain.rows:
        store = Path(row.store_dir)
        try:
            problems += [f"{chain.id} generation {row.generation}: {p}" for p in audit_row(row, store, synthetic)]
            samples = Pool.load(store / row.artifacts["samples"])
            synthetic[samples.id] = samples
        except (BenchError, KeyError, TypeError) as error:
            problems.append(f"{chain.id} generation {row.generation}: cannot be audited: {error}")
    return problems


def audit_row(row: Row, store: Path, synthetic: dict[str, Pool]) -> list[str]:
    """Problems of one generation. synthetic: the sample pools of the generations before it, by id."""
    composition = Composition.load(store / row.artifacts["train"])
    real_folder = store / row.artifacts["real"]
    train, heldout = Pool.load(real_folder / "train"), Pool.load(real_folder / "heldout")
    reserve = Pool.load(real_folder / "reserve") if (real_folder / "reserve").exists() else None
    real = {pool.id: pool for pool in (train, reserve) if pool}
    problems = audit_identity(row)
    births: list[np.ndarray] = []
    forbidden = set(heldout.records.source_id.tolist())
    for part in composition.parts:
        pool = real.get(part.pool.id) or synthetic.get(part.pool.id)
        if pool is None:
            what = "the held-out pool" if part.pool.id == heldout.id else "a pool that this chain did not make"
            problems.append(f"trained on {len(part.rows)} images of {what}")
            continue
        records = pool.records.take(part.rows)
        births.append(records.generation)
        leaked = forbidden.intersection(records.source_id[~records.is_synthetic].tolist())
        if leaked:
            problems.append(f"trained on {len(leaked)} held-out images, among them {min(leaked)!r}")
    if not births or len(births) < len(composition.parts):
        return problems
    generation = np.concatenate(births)
    if (generation >= row.generation).any():
        problems.append("trained on images of its own or of a later generation")
    counted = composition.counts(PoolRef.of(train, REAL), PoolRef.of(reserve, REAL) if reserve else None) | recount(
        generation, len(train)
    )
    for name, value in counted.items():
        if row.composition.get(name) != value:
            problems.append(f"{name} is {row.composition.get(name)!r} in the ledger and {value!r} by recount")
    if recompose(row, train, reserve, synthetic).id != composition.id:
        problems.append(f"policy {row.policy} with seed {row.seed} composes another training set than the stored one")
    return problems


def audit_identity(row: Row) -> list[str]:
    """Whether the fields that tables are grouped by are those of the recorded configuration, and that is unchanged."""
    config = row.config
    said = {"seed": row.seed, "policy": row.policy, "config_hash": row.config_hash}
    meant = {"seed": config["seed"], "policy": config["mixing"]["policy"], "config_hash": config_hash(config)}
    return [
        f"{k} is {said[k]!r} in the ledger and {meant[k]!r} by its configuration" for k in said if said[k] != meant[k]
    ]


def recompose(row: Row, train: Pool, reserve: Pool | None, synthetic: dict[str, Pool]) -> Composition:
    """What the recorded policy and seed compose for this generation, from the pools that the chain has made."""
    history = History(
        generation=row.generation,
        real=PoolRef.of(train, REAL),
        reserve=PoolRef.of(reserve, REAL) if reserve else None,
        synthetic=tuple(PoolRef.of(pool, generation) for generation, pool in enumerate(synthetic.values())),
        budget=len(train),
        seed=row.config["seed"],
    )
    schema = SCHEMAS["mixing", f"{row.config['mixing']['policy']}_schema"]
    return compose(resolve(schema(**row.config["mixing"])), history)


def recount(generation: np.ndarray, num_real_available: int) -> dict[str, Any]:
    """Counts and ratios from the generation of birth of every training image, int (N,)."""
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
    """(mismatches, what could not be derived again), by the witness. Cards: those of these chains as a report would
    make them now, and those in the report's folder."""
    from bench.analysis.study import studies
    from bench.report.__main__ import default_out
    from bench.report.card import card, load
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
        problems += [f"{study.title}: {said}" for said in statements.examine(card(study), chains)]
    for path in sorted({file for run in runs for file in default_out(run).glob("*card.json")}):
        body = load(path)
        if {member["id"] for condition in body["conditions"] for member in condition["chains"]} <= {
            c.id for c in chains
        }:
            problems += [f"{path}: {said}" for said in statements.examine(body, chains)]
        else:
            unchecked[f"{path}: it is of chains that were not given, too"] = None
    return problems, list(unchecked)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 nothing differs; 1 a mismatch; 2 nothing to audit."""
    parser = argparse.ArgumentParser(prog="python -m bench.audit", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="a chain's folder, or one above several")
    parser.add_argument("--deep", action="store_true", help="derive samples, weights, scores and statements again")
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
    sys.exit(main())
