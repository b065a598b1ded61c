"""python -m bench plan [overrides of a run or a sweep]: show what a run or a sweep would do, without doing it.

The plan lists the chains, the different trainings and how many of them are in the store, the time, and the disk space.
The stages of every chain are requested as in a run, from a store that computes nothing, so the results that are
reported as stored are exactly those that a run would find. Nothing is downloaded, drawn or written.
"""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np

from bench import (
    earlier,
    generators,
    join_stage,
    ledger,
    mistakes,
    preflight,
    protocols,
    remedies,
    remedy_stage,
    select_stage,
    selection,
    stages,
    vet_stage,
)
from bench.composition import Composition, PoolRef
from bench.config import Config, GeneratorConfig, chain_id
from bench.datasets import RealData
from bench.errors import BenchError, DataError, LedgerError
from bench.machine.console import Console, duration
from bench.machine.device import Runtime, resolve_runtime
from bench.pool import REAL, Pool
from bench.stages import StageContext
from bench.store import Result, Store, inventory, result_files
from bench.store.specs import spec_hash
from bench.sweep import WRONG_CONFIG, values_of

MOST_CHAINS = 20
"""Largest number of chains that are listed one by one."""


class Wanted(Store):
    """A store that computes nothing and records what is requested. wanted: key -> (spec, facts of the stored result;
    None if it is not stored)."""

    def __init__(self, root: Path) -> None:
        """Open the store. root: The directory of the store that may have the results."""
        super().__init__(root)
        self.wanted: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {}

    def make(self, stage: str, spec: dict[str, Any], produce: Any) -> Result:
        """Return the stored result, or a result without files if there is none."""
        key = f"{stage}/{spec_hash(stage, spec)}"
        try:
            facts = result_files.read_manifest(self.path(key), key)["facts"] if self.path(key).is_dir() else None
        except result_files.Damaged:
            facts = None
        self.wanted[key] = spec, facts
        return Result(key, self.path(key), facts or {}, reused=facts is not None)


@dataclass
class Budget:
    """What a chain spends: the different real items that it trains on or that calibrate its vetting, the optimiser
    steps, and the network evaluations to draw samples (0 if the generator does not count them)."""

    num_real: int = 0
    num_steps: int = 0
    num_evaluations: int = 0


@dataclass
class Plan:
    """What a command would do.

    Attributes:
        store: The directory of the store.
        chains: Id of a chain -> keys of its trainings, including those of its remedy on own samples.
        trainings: Key -> number of items that the training processes in all its steps.
        samples: Key -> (number of samples, bytes of one sample).
        specs: Key of any requested result -> its spec.
        missing: Keys of the requested results that are not stored.
        budgets: Id of a chain -> what it spends, including on results that are stored or shared with other chains.
    """

    store: Path
    chains: dict[str, list[str]] = field(default_factory=dict)
    trainings: dict[str, float] = field(default_factory=dict)
    samples: dict[str, tuple[int, int]] = field(default_factory=dict)
    specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    budgets: dict[str, Budget] = field(default_factory=dict)

    def to_do(self, keys: Sequence[str]) -> list[str]:
        """Return those of `keys` that are not stored, each once."""
        return [key for key in dict.fromkeys(keys) if key in self.missing]


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    words = [word for word in arguments if not word.startswith(("-", "hydra/", "hydra."))]
    try:
        found = plan([protocols.compose_config(line) for line in chains_of(words)])
    except mistakes.Mistakes as error:
        print(*(f"error: {line}" for line in mistakes.sentences(error, words)), sep="\n", file=sys.stderr)
        return WRONG_CONFIG
    except BenchError as error:
        print(*(f"error: {line}" for line in str(error).splitlines()), sep="\n", file=sys.stderr)
        return WRONG_CONFIG
    print("\n".join(lines(found)))
    return 0


def chains_of(overrides: Sequence[str]) -> Iterator[list[str]]:
    """Yield the overrides of every chain of a sweep, as Hydra's own sweeper combines them."""
    return (list(line) for line in product(*values_of(overrides)))


def plan(configs: Sequence[Config]) -> Plan:
    """Return what chains would do. Raises `BenchError` for errors that would end them before their first training."""
    found = Plan(Path(configs[0].store_dir))
    runtimes: dict[str, Runtime] = {}
    for config in configs:
        protocols.check(config)
        preflight.check(config)
        steps = generators.num_steps(config.generator)
        runtime = runtimes.setdefault(repr((config.runtime, steps)), resolve_runtime(config.runtime, steps))
        follow(config, runtime, found)
    return found


def follow(config: Config, runtime: Runtime, found: Plan) -> None:
    """Request the stages of a chain as `bench.loop` does, and add them to the plan."""
    store = Wanted(Path(config.store_dir))
    context = StageContext(store, runtime, Console(quiet=True))
    real, reserve, item_bytes = real_items(context, config)
    joined = joined_pool(config)
    real = joined or real
    history = preflight.start(config, real, reserve)
    num_samples = config.num_samples or preflight.default_num_samples(config, real.num_items)
    drawn = preflight.plan(config, history, num_samples)
    num_drawn = selection.num_candidates(config.selection, num_samples)
    renamed: dict[str, PoolRef] = {}
    models: list[Result] = []
    remedy = remedies.resolve(config.remedy)
    networks = remedy.num_networks if remedy else 1
    pools_of_real = RealData(
        *cast(tuple[Pool, Pool, Pool | None], (real, None, reserve)), joined=cast(Pool | None, joined)
    )
    keys = found.chains.setdefault(chain_id(config), [])
    budget = found.budgets[chain_id(config)] = Budget(num_real(drawn) + preflight.num_calibration(config))
    trained: Result | None = None
    for generation, planned in enumerate(drawn):
        composition = _with_pools(planned, renamed)
        pools: dict[str, Pool] = {}
        with suppress(DataError):  # not vetted yet: assume that all drawn items are trained on, an upper bound
            composition, _ = vet_stage.vet(context, config, generation, composition, pools, pools_of_real, models)
        trained = stages.train(context, config, generation, composition, pools, previous=trained)
        model = remedy_stage.remedied(context, config, generation, trained)
        models.append(model)
        if context.first_model is None:
            context = replace(context, first_model=stages.FirstModel(config.generator, model))
        counted = stages.counted_out(config, generation, len(composition))
        found.trainings[trained.key] = num_seen(counted)
        keys.append(trained.key)
        sampled = stages.sample(context, config, generation, model, num_drawn, cast(Pool, real))
        found.samples[sampled.key] = num_drawn + config.num_probes, item_bytes
        selected = select_stage.select(context, config, generation, sampled, num_samples, cast(Pool, real))
        name = f"samples of generation {generation}"  # as `mixing.plan` calls it
        renamed[name] = PoolRef(_pool_id(selected), num_samples, generation)
        budget.num_steps += num_steps(counted)
        budget.num_evaluations += num_drawn * (generators.num_evaluations(config.generator) or 0) * networks
        if remedy:
            shortly = remedy_stage.short_training(config)
            found.trainings[model.key] = num_seen(shortly)
            found.samples[model.key] = remedy.config.num_samples, item_bytes
            keys.append(model.key)
            budget.num_steps += num_steps(shortly)
            budget.num_evaluations += remedy.config.num_samples * (generators.num_evaluations(shortly) or 0)
    found.specs |= {key: spec for key, (spec, _) in store.wanted.items()}
    found.missing |= {key for key, (_, facts) in store.wanted.items() if facts is None}


def real_items(context: StageContext, config: Config) -> tuple[PoolRef, PoolRef | None, int]:
    """Return the real pool, the reserve, and the bytes of one item: from the store if it has them, otherwise with the
    sizes that the configuration states. Raises `DataError` if neither says how many items there are."""
    result = context.store.make("real", stages.real_spec(config.data), None)  # type: ignore[arg-type]
    if result.reused:
        pools = [Pool.load(result.path / name) for name in ("train", "reserve") if (result.path / name).exists()]
        refs = [PoolRef.of(pool, REAL) for pool in pools]
        return refs[0], refs[1] if len(refs) > 1 else None, pools[0].items[0].nbytes
    if config.data.num_train is None:
        raise DataError("data.num_train=null: the number of items is unknown until they have been read: give a number")
    num_reserve = getattr(config.data, "num_reserve", None)
    if num_reserve is None:  # unknown for data sets in files: assume as many as a chain can draw
        num_reserve = config.data.num_train * config.num_generations
    reserve = PoolRef(f"{result.key} reserve", num_reserve, REAL) if num_reserve else None
    side = config.data.resolution
    dimension = getattr(config.data, "dimension", None)
    return PoolRef(result.key, config.data.num_train, REAL), reserve, 8 * dimension if dimension else 3 * side * side


def joined_pool(config: Config) -> PoolRef | None:
    """Return the pool that a newcomer uses as its real pool; None for other chains."""
    found = earlier.find(config)
    if found is None:
        return None
    world = join_stage.World.of(found)
    return PoolRef.of(world.gather(world.compose(found.ratio, config.seed)), REAL)


def num_real(drawn: Sequence[Composition]) -> int:
    """Return how many different real items are in the training sets of a chain."""
    parts = [part for composition in drawn for part in composition.parts if part.pool.generation == REAL]
    return len({(part.pool.id, row) for part in parts for row in part.rows.tolist()})


def num_steps(generator: GeneratorConfig) -> int:
    """Return the optimiser steps of a training whose epochs are converted to steps (`stages.counted_out`); 0 if the
    generator does not train in steps."""
    training = getattr(generator, "training", None)
    return training.num_steps if training else 0


def num_seen(generator: GeneratorConfig) -> float:
    """Return how many items the training processes in all its steps; 0 if the generator does not train in steps."""
    training = getattr(generator, "training", None)
    return training.num_steps * training.batch_size if training else 0


def _with_pools(planned: Composition, renamed: dict[str, PoolRef]) -> Composition:
    """Return a composition whose placeholders are replaced by the pools that a run would draw from."""
    return Composition(tuple(type(part)(renamed.get(part.pool.id, part.pool), part.rows) for part in planned.parts))


def _pool_id(selected: Result) -> str:
    """Return the id of a pool if it is stored, otherwise the key of the result that would hold it."""
    return Pool.load(selected.path / "pool").id if selected.reused else selected.key


# ------------------------------------------------------------------------------------------------------------- text


def lines(found: Plan) -> list[str]:
    """Return the plan as text."""
    num_generations = sum(key.startswith("train/") for keys in found.chains.values() for key in keys)
    to_do, draws = found.to_do(list(found.trainings)), found.to_do(list(found.samples))
    said = [
        f"chains      {len(found.chains)}, {num_generations} generations in all",
        f"trainings   {len(found.trainings)} different, {len(found.trainings) - len(to_do)} in {found.store}, "
        f"{len(to_do)} to do",
    ]
    for chain, keys in list(found.chains.items())[:MOST_CHAINS]:
        new = found.to_do(keys)
        said.append(f"  {chain}: {len(new)} of {len(keys)} trainings to do; {budget_line(found.budgets[chain])}")
    said += [f"  and {len(found.chains) - MOST_CHAINS} more"] if len(found.chains) > MOST_CHAINS else []
    said.append(f"time        {time_line(found, to_do, draws)}")
    disk = sum(num * size for num, size in (found.samples[key] for key in draws))
    models, known = model_bytes(found, to_do)
    free = shutil.disk_usage(_existing(found.store)).free
    what = "samples and models" if known else "samples; the size of a model is not known before the first one"
    said.append(f"disk        {_bytes(disk + models)} of {what}, {_bytes(free)} free")
    return said


def budget_line(budget: Budget) -> str:
    """Return the budget of a chain as text. It includes what is already stored."""
    parts = [f"{budget.num_real} real items", f"{budget.num_steps} optimiser steps"]
    parts += [f"{budget.num_evaluations} network evaluations to sample"] if budget.num_evaluations else []
    return ", ".join(parts)


def time_line(found: Plan, to_do: Sequence[str], draws: Sequence[str]) -> str:
    """Return as text how long the missing results take on this machine, one chain at a time, and the source of this
    estimate."""
    if not to_do and not draws:
        return "none: everything is in the store"
    rates, num = speeds(found)
    if any(rates.get(_network(found.specs[key])) is None for key in to_do):
        return (
            "unknown: the store has no training of this network on such a device; run num_generations=1 "
            "first, whose results a longer run uses; docs/speed.md has measured times"
        )
    seconds = sum(found.trainings[key] / rates[_network(found.specs[key])] for key in to_do if found.trainings[key])
    drawn = [facts["images_per_second"] for facts in _facts(found.store, "sample", found, draws)]
    seconds += sum(found.samples[key][0] for key in draws) / median(drawn) if drawn else 0
    scoring = scoring_seconds(found.store)
    seconds += sum(key.startswith("sample/") for key in draws) * scoring
    return (
        f"{duration(seconds)}, one chain at a time: trainings at the speed of {num} in {found.store}, sampling and "
        f"scoring ({duration(scoring)} a generation) as its ledgers have it"
    )


def speeds(found: Plan) -> tuple[dict[str, float], int]:
    """Return network -> median items per second of its stored trainings, and the number of these trainings."""
    rates: dict[str, list[float]] = {}
    wanted = {_network(found.specs[key]) for key in found.trainings}
    for entry in _entries(found.store, "train"):
        if _network(entry.spec) in wanted and entry.facts.get("images_per_second"):
            rates.setdefault(_network(entry.spec), []).append(entry.facts["images_per_second"])
    return {name: median(values) for name, values in rates.items()}, sum(map(len, rates.values()))


def _network(spec: dict[str, Any]) -> str:
    """Return a text that identifies what the speed of a training depends on: its spec without data, seed and length."""
    generator = dict(spec["generator"])
    for part in ("config", "parameters"):
        if isinstance(generator.get(part), dict) and isinstance(generator[part].get("training"), dict):
            training = {k: v for k, v in generator[part]["training"].items() if k == "batch_size"}
            generator[part] = {**generator[part], "training": training}
    return repr((generator, spec.get("arithmetic")))


def _facts(root: Path, stage: str, found: Plan, keys: Sequence[str]) -> list[dict[str, Any]]:
    samplers = [found.specs[key]["sampler"] for key in keys]
    return [entry.facts for entry in _entries(root, stage) if entry.spec.get("sampler") in samplers]


def scoring_seconds(root: Path) -> float:
    """Return the seconds that a generation takes beyond training, remedy and sampling: the median over the ledgers next
    to the store, or 0 if there are none. Generations whose training came from the store are left out: there the
    difference is negative."""
    rest: list[float] = []
    for path in root.parent.glob(f"*/*/{ledger.FILENAME}"):
        try:
            rows = ledger.read(path)
        except LedgerError:
            continue
        stages = ("train", "remedy", "sample")
        made = [row.wall_seconds - sum(getattr(row, name).get("seconds", 0) for name in stages) for row in rows]
        rest += [seconds for seconds in made if seconds > 0]
    return median(rest) if rest else 0.0


def model_bytes(found: Plan, to_do: Sequence[str]) -> tuple[float, bool]:
    """Return the bytes of the models that are not stored, estimated from stored models of the same network, and whether
    there is such a model for each of them."""
    sizes: dict[str, int] = {}
    for entry in _entries(found.store, "train"):
        sizes.setdefault(_network(entry.spec), result_files.size_of(entry.path)[0])
    known = [sizes.get(_network(found.specs[key])) for key in to_do]
    return float(sum(size or 0 for size in known)), None not in known


def _entries(root: Path, stage: str) -> list[inventory.Entry]:
    if not (root / stage).is_dir():
        return []
    return [entry for entry in inventory.entries(Store(root), stage) if entry.damage is None]


def _existing(path: Path) -> Path:
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())


def _bytes(count: float) -> str:
    power = min(3, int(np.log2(max(count, 1)) // 10))
    return f"{count / 1024**power:.0f} {('B', 'KiB', 'MiB', 'GiB')[power]}"
