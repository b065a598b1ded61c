"""Faults of processes: killed, suspended past their lease, and many at once."""

import itertools
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

from configs import ReplaceConfig
from faults.shared import Tally, exit_status, is_whole, run_or_explain, start
from test_resume import run_and_kill
from tiny_chain import outcome, tiny

from bench import loop
from bench.config import Config
from bench.store import Store
from bench.store.__main__ import main as store_command
from bench.store.stage_files import REQUIRED

STAGES = ["real", "train", "sample", "features", "reference", "floor", "score", "between"]
KILLS_PER_CHAIN = 6


def kills(folder: Path, count: int, rng: random.Random) -> Tally:
    """SIGKILL at a random moment of a random stage, several times per chain, and then the same command again."""
    tally, numbers = Tally(), itertools.count()
    while tally.tried < count:
        out, hits = folder / f"chain{next(numbers)}", []
        for stage in rng.choices(STAGES, k=min(KILLS_PER_CHAIN, count - tally.tried)):
            hit = run_and_kill(out, stage, rng.uniform(0.0, 0.4))
            if hit is None:
                break
            hits.append(hit)
        whole = exit_status(tiny(out)) == 0 and is_whole(tiny(out))
        tally.add(whole, f"{out.name}, killed at {hits}", len(hits))
        tally.places.update(hits)
    return tally


def run_with_a_short_lease(config: Config) -> None:
    loop.open_store = lambda root, chain: Store(root, 1.0, REQUIRED, chain)  # type: ignore[assignment]
    run_or_explain(config)


def stops(folder: Path, count: int, rng: random.Random) -> Tally:
    """SIGSTOP while a result is made, a second run that takes over and ends, and SIGCONT."""
    tally = Tally()
    for number in range(count):
        config, stage = tiny(folder / f"chain{number}"), rng.choice(STAGES[:-1])
        locks = Path(config.store_dir) / "locks" / stage
        holder = start(config, run_with_a_short_lease)
        while holder.is_alive() and not list(locks.glob("*.lock")):
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.2))
        os.kill(holder.pid, signal.SIGSTOP)
        second = exit_status(config, run_with_a_short_lease)
        os.kill(holder.pid, signal.SIGCONT)
        holder.join(300)
        whole = is_whole(config) and store_command(["verify", config.store_dir]) == 0
        tally.add(whole and (second, holder.exitcode) == (0, 0), f"stopped at {stage}: {second}, {holder.exitcode}")
        tally.places[stage] += 1
    return tally


def sweeps(folder: Path, count: int, rng: random.Random) -> Tally:
    """Four processes at once run the same two chains on one store; after every round the ledgers are deleted."""
    tally = Tally()
    chains = [tiny(folder / "out"), tiny(folder / "out", name="other", mixing=ReplaceConfig())]
    known: list[object] = []
    for number in range(count):
        for file in (folder / "out").glob("*/*/ledger.jsonl"):
            file.unlink()
        processes = [start(replace(config)) for config in chains * 2]
        for process in processes:
            process.join(300)
        ended = [process.exitcode for process in processes]
        left = [outcome(config) for config in chains] if ended == [0] * 4 else []
        known = known or left
        tally.add(bool(left) and left == known and is_whole(chains[0]), f"round {number}: {ended}", 4)
    return tally
