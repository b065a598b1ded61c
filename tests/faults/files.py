"""Faults of files: truncated, flipped, swapped, misplaced, and locks that hold junk."""

import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

from faults.shared import EXPLAINED, Tally, copy, exit_status, finished, is_whole, start
from test_store_lease import JUNK
from tiny_chain import tiny

from bench import ledger
from bench.config import Config
from bench.errors import LedgerError
from bench.store import Store, spec_hash
from bench.store.result_files import Damaged
from bench.store.stage_files import REQUIRED

CHECKPOINTS = "work/train/*/*.safetensors"


def truncate(file: Path, other: Path, rng: random.Random) -> None:
    os.truncate(file, rng.randrange(max(file.stat().st_size, 1)))


def flip(file: Path, other: Path, rng: random.Random) -> None:
    body = bytearray(file.read_bytes())
    body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    file.write_bytes(body)


def swap(file: Path, other: Path, rng: random.Random) -> None:
    file.write_bytes(other.read_bytes() + b"\n")


def remove(file: Path, other: Path, rng: random.Random) -> None:
    file.unlink()


def double(file: Path, other: Path, rng: random.Random) -> None:
    file.write_bytes(file.read_bytes() * 2)


HARMS = (truncate, flip, swap, remove)


def results(store: Path) -> list[Path]:
    return sorted(path.parent for path in store.glob("*/??/*/manifest.json"))


def is_noticed(root: Path, result: Path) -> bool:
    try:
        Store(root, required=REQUIRED).open(f"{result.parents[1].name}/{result.name}")
    except Damaged:
        return True
    return False


def stored_files(folder: Path, count: int, rng: random.Random) -> Tally:
    """Every kind of file of every stage is truncated, flipped, swapped or removed: the result is not used."""
    store, tally = Path(copy(folder / "out").store_dir), Tally()
    every = [(result, file) for result in results(store) for file in sorted(result.rglob("*")) if file.is_file()]
    for number in range(count):
        harm, (result, file) = HARMS[number % len(HARMS)], every[number // len(HARMS) % len(every)]
        kept = file.read_bytes()
        harm(file, rng.choice([other for _, other in every if other != file]), rng)
        what = f"{harm.__name__} {file.relative_to(store)}"
        tally.add(is_noticed(store, result), what)
        tally.places[result.parents[1].name] += 1
        file.write_bytes(kept)
    assert not any(is_noticed(store, result) for result in results(store))
    return tally


def misplaced(folder: Path, count: int, rng: random.Random) -> Tally:
    """A whole result lies in the place of another: it is not used."""
    store, tally = Path(copy(folder / "out").store_dir), Tally()
    for _ in range(count):
        there, here = rng.sample(results(store), 2)
        aside = here.with_name("aside")
        here.rename(aside)
        shutil.copytree(there, here)
        tally.add(is_noticed(store, here), f"{there.relative_to(store)} at {here.relative_to(store)}")
        shutil.rmtree(here)
        aside.rename(here)
    return tally


def made_again(folder: Path, count: int, rng: random.Random) -> Tally:
    """One file of every result of a finished chain is harmed: the same command makes it again, byte for byte."""
    tally = Tally()
    for number in range(count):
        config = copy(folder / f"out{number}")
        harmed = results(Path(config.store_dir))
        for result in harmed:
            file = rng.choice(sorted(path for path in result.rglob("*") if path.is_file()))
            rng.choice(HARMS)(file, next(result.glob("*.json")), rng)
        tally.add(exit_status(config) == 0 and is_whole(config), f"round {number}", len(harmed))
    return tally


def checkpoints(folder: Path, count: int, rng: random.Random) -> Tally:
    """A training is killed and its newest checkpoint harmed: it goes on from an older one."""
    tally = Tally()
    for number in range(count):
        config, harm = tiny(folder / f"chain{number}"), HARMS[number % len(HARMS)]
        training = start(config)
        while training.is_alive() and not (newest := sorted(Path(config.store_dir).glob(CHECKPOINTS))[-1:]):
            time.sleep(0.002)
        training.kill()
        training.join()
        harm(newest[0], Path(__file__), rng)
        tally.add(exit_status(config) == 0 and is_whole(config), f"{harm.__name__} {newest[0].name}")
    return tally


def _ledger(config: Config) -> Path:
    return next(Path(config.output_dir).glob(f"{config.name}/*/{ledger.FILENAME}"))


def ledgers(folder: Path, count: int, rng: random.Random) -> Tally:
    """A ledger is harmed: it is read as it was, or refused with the advice to delete it, after which it is rebuilt."""
    tally = Tally()
    for number in range(count):
        config, harm = copy(folder / f"out{number}"), (truncate, flip, double)[number % 3]
        file = _ledger(config)
        harm(file, file, rng)
        status = exit_status(config)
        if status == EXPLAINED:
            file.unlink()
            status = exit_status(config)
        tally.add(status == 0 and is_whole(config), f"{harm.__name__}: {status}")
    return tally


def changed_rows(folder: Path, count: int, rng: random.Random) -> Tally:
    """One character of a ledger is changed at a random place: no reader returns other rows."""
    body, tally = _ledger(tiny(finished())).read_text(), Tally()
    file = folder / ledger.FILENAME
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(body)
    rows = ledger.read(file)
    for _ in range(count):
        place = rng.randrange(len(body))
        file.write_text(body[:place] + rng.choice('0123456789abc",{}[]: \n') + body[place + 1 :])
        try:
            read = ledger.read(file)
            tally.add(read == rows[: len(read)], f"at {place}")
        except LedgerError:
            tally.add(True, "")
    return tally


def junk_locks(folder: Path, count: int, rng: random.Random) -> Tally:
    """A lock file that no process keeps, of any content: the result is made after the lease, not never."""
    tally = Tally()

    def produce(out: Path, work: Path) -> dict[str, Any]:
        return {}

    for number in range(count):
        spec, name = {"n": number}, list(JUNK)[number % len(JUNK)]
        store = Store(folder, lease_seconds=0.3)
        lock = store.lock(f"train/{spec_hash('train', spec)}")
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.write_bytes(JUNK[name])
        tally.add(not store.make("train", spec, produce).reused and not lock.exists(), name)
    return tally
