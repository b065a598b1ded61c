"""Nothing is lost: a run that is killed at random moments ends in the same bytes as one that never was."""

import multiprocessing
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tiny_chain import outcome, run, tiny

from bench import ledger

STAGES = ["real", "train", "train", "train", "sample", "features", "score", "between"]
"""Where to strike; `between` is any moment at all. Training is the longest, so it is struck most often."""

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    ["bench.loop", "bench.generators.ddpm.training", "bench.generators.ddpm.sampling", "bench.metrics.scores"]
)


def run_and_kill(out: Path, stage: str, delay: float) -> str | None:
    """Starts the chain and kills it `delay` seconds after it has begun a result of `stage`. Returns what it was at
    when it died, or None where it was done before."""
    process = context.Process(target=run, args=(tiny(out),))
    process.start()
    locks = out / "store" / "locks"
    while process.is_alive() and stage != "between" and not list(locks.glob(f"{stage}/*.lock")):
        time.sleep(0.002)
    process.join(delay)
    process.kill()
    process.join()
    if process.exitcode == 0:
        return None
    assert process.exitcode == -9, f"the chain failed by itself: {process.exitcode}"
    held = [lock.parent.name for lock in locks.glob("*/*.lock") if f"pid={process.pid}\n" in lock.read_text()]
    return "+".join(sorted(held)) or "between"


def kill_many(folder: Path, num_kills: int, kills_per_chain: int, seed: int) -> tuple[Counter[str], list[Path]]:
    """Kills chains until `num_kills` are dead, each chain at most `kills_per_chain` times; then lets them end."""
    rng, hits, chains = random.Random(seed), Counter[str](), []
    while hits.total() < num_kills:
        chains.append(folder / f"chain{len(chains)}")
        for stage in rng.sample(STAGES, len(STAGES))[:kills_per_chain]:
            hit = run_and_kill(chains[-1], stage, rng.uniform(0.0, 0.4))
            if hit is None or hits.total() + 1 >= num_kills:
                hits.update([hit] if hit else [])
                break
            hits.update([hit])
        last = context.Process(target=run, args=(tiny(chains[-1]),))
        last.start()
        last.join()
        assert last.exitcode == 0
    return hits, chains


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("uninterrupted")
    process = context.Process(target=run, args=(tiny(out),))
    process.start()
    process.join()
    assert process.exitcode == 0
    return outcome(tiny(out))


def test_chain_killed_a_few_times_ends_in_the_same_bytes(tmp_path: Path, uninterrupted: list[dict[str, Any]]) -> None:
    hits, chains = kill_many(tmp_path, num_kills=4, kills_per_chain=4, seed=int(time.time()))
    assert hits.total() >= 4
    for chain in chains:
        assert outcome(tiny(chain)) == uninterrupted


@pytest.mark.slow
def test_forty_kills_across_all_stages_change_no_byte(tmp_path: Path, uninterrupted: list[dict[str, Any]]) -> None:
    hits, chains = kill_many(tmp_path, num_kills=40, kills_per_chain=6, seed=0)
    print(f"\n{hits.total()} kills in {len(chains)} chains: {dict(hits)}")
    assert hits.total() >= 40
    for stage in ("real", "train", "sample", "features", "score"):
        assert any(stage in hit for hit in hits), f"no kill hit {stage}: {hits}"
    resumed = []
    for chain in chains:
        assert outcome(tiny(chain)) == uninterrupted
        (rows,) = ledger.read_runs([chain / "tiny"])
        resumed += [row.train["resumed_from_step"] for row in rows.rows]
    assert any(step > 0 for step in resumed), "no training went on from a checkpoint"
