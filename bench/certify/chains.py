"""Chains with a known outcome, run in memory by the benchmark's own policies, split, generators and scores.

Only the store and the ledger are left out, because they would take most of the time. `bench.certify.__main__` runs one
chain through them and compares every sample.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import datasets, generators, loop, metrics, mixing, registry
from bench.certify import categories, regression
from bench.certify.theory import REAL, Draw, Plan, samples_of
from bench.composition import PoolRef
from bench.config import Config, DataConfig, GeneratorConfig, MetricsConfig, RuntimeConfig
from bench.custom import CustomDataConfig, CustomGeneratorConfig
from bench.datasets.points import Config as PointsConfig
from bench.features.shared import extraction
from bench.generators import gaussian
from bench.generators.gaussian import Config as GaussianConfig
from bench.machine.device import Runtime
from bench.options import check
from bench.pool import Pool, Records
from bench.seeds import derive_seed

NUM_POINTS = 20
"""M, the size of every pool. It is small so that errors of a loop have large effects, which are of order 1/M."""
MEAN, SD = 3.0, 2.0
FRESH = 200
"""Size of the reserve, from which `fresh` draws."""
RUNTIME = Runtime(torch.device("cpu"), None, compile=False)


@dataclass(frozen=True, eq=False)
class Loop:
    """A loop with a known outcome.

    plan: the draws that the policy must make, in the terms of `theory`, written here independently of the policy.
    dimension: number of coordinates of a point. Each coordinate obeys the one-dimensional theory, so that one chain
    counts as several. with_scores: whether FID and risk are computed, for which there are formulas in one dimension.
    world: "gaussian", or the module of the certificate with data and generator: "categories" or "regression".
    num_points: M, the size of every pool. num_generations: set if the loop needs more than the others; None: the same.
    """

    name: str
    policy: str
    plan: Plan
    parameters: dict[str, Any] = field(default_factory=dict)
    estimator: str = "unbiased"
    dimension: int = 8
    with_scores: bool = False
    world: str = "gaussian"
    num_points: int = NUM_POINTS
    num_generations: int | None = None

    def config(self, chain: int, num_generations: int, **changes: Any) -> Config:
        """Return the checked configuration of a chain. Every chain has its own points."""
        room = registry.schema("mixing", self.policy)
        assert room is not None
        data: DataConfig = PointsConfig(
            dimension=self.dimension, mean=MEAN, sd=SD, num_train=self.num_points, num_heldout=self.num_points,
            num_reserve=FRESH, split_seed=chain,
        )  # fmt: skip
        generator: GeneratorConfig = GaussianConfig(estimator=self.estimator)
        if self.world != "gaussian":
            module = f"bench.certify.{self.world}"
            data = CustomDataConfig(
                module=module, num_train=self.num_points, num_heldout=self.num_points, split_seed=chain
            )
            generator = CustomGeneratorConfig(module=module)
        config = Config(
            name="certify",
            seed=chain,
            num_generations=num_generations,
            num_samples=self.num_points,
            data=data,
            generator=generator,
            mixing=room(**self.parameters),
            metrics=MetricsConfig(feature_space="identity", num_images=self.num_points, k=1, scores=["frechet"]),
            runtime=RuntimeConfig(device="cpu", precision="fp32"),
            **changes,
        )
        check(config)
        return config


@dataclass(frozen=True, eq=False)
class Observed:
    """What chains did, float64 (chains, generations) each. In Gaussian loops, the first four are coordinate averages.

    shift: μ̂ − μ. error: (μ̂ − μ)²; for regression, ‖ŵ − w‖². variance: σ̂²; for categories, 1 − Σp̂². distance:
    (μ̂ − μ)² + (σ̂ − σ)². risk: mean loss of held-out points. excess: risk minus that of the true distribution. fid: FID
    of samples against held-out points, in the first and the last generation. lost, fixed: whether the rarest category
    is gone, and whether only the commonest is left. floor: FID of real against held-out points, (chains,). Quantities
    that a loop does not have are NaN.
    """

    shift: np.ndarray
    error: np.ndarray
    variance: np.ndarray
    distance: np.ndarray
    risk: np.ndarray
    excess: np.ndarray
    fid: np.ndarray
    lost: np.ndarray
    fixed: np.ndarray
    floor: np.ndarray

    @staticmethod
    def joined(parts: "Sequence[Observed]") -> "Observed":
        """Concatenate the chains of all parts."""
        return Observed(*(np.concatenate([getattr(p, name) for p in parts]) for name in Observed.__dataclass_fields__))


def run(name: str, chains: range, num_generations: int) -> Observed:
    """Run some chains of a loop, and return what they did."""
    which = LOOPS[name]
    num_generations = which.num_generations or num_generations
    shift, error, variance, distance, risk, excess, fid, lost, fixed = np.full(
        (9, len(chains), num_generations), np.nan
    )
    seen = Observed(shift, error, variance, distance, risk, excess, fid, lost, fixed, np.full(len(chains), np.nan))
    space = extraction.load_feature_space("identity", RUNTIME)
    memory = Path("/dev/shm")  # removing files from a disk takes longer than all the rest
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        for i, chain in enumerate(chains):
            config = which.config(chain, num_generations)
            real = datasets.load_real(config.data)
            made = generate(config, real, Path(folder) / str(chain))
            if which.world == "regression":
                error[i] = [((regression.load(model) - regression.WEIGHTS) ** 2).sum() for model, _ in made]
                continue
            if which.world == "categories":
                shares = np.stack([categories.load(model) for model, _ in made])
                variance[i] = 1 - (shares**2).sum(axis=1)
                lost[i], fixed[i] = shares[:, categories.RAREST] == 0, shares[:, categories.COMMONEST] == 1
                continue
            for generation, (model, _) in enumerate(made):
                mean, factor = gaussian.load(model)
                away, squares = mean - MEAN, (factor**2).sum(axis=1)
                shift[i, generation] = away.mean()
                error[i, generation] = (away**2).mean()
                variance[i, generation] = squares.mean()
                distance[i, generation] = (away**2 + (np.sqrt(squares) - SD) ** 2).mean()
            if which.with_scores:
                _score(seen, i, config, real, made, space)
    return seen


def _score(
    seen: Observed,
    i: int,
    config: Config,
    real: datasets.RealData,
    made: list[tuple[Path, Pool]],
    space: extraction.FeatureSpace,
) -> None:
    """Fill in the scores of a chain.

    Args:
        seen: The observations that receive the scores.
        i: The row of the chain in `seen`.
        config: The chain's configuration.
        real: The chain's real points.
        made: The chain's model folders and samples, by generation.
        space: The identity feature space.
    """
    real_train, heldout = (extraction.extract(space, pool.items, shared=False) for pool in (real.train, real.heldout))
    seen.floor[i] = _fid(real_train, heldout, config)
    seeds, truth = np.zeros(NUM_POINTS, np.int64), datasets.true_risk(config.data, real.heldout.items)
    for generation, (model, samples) in enumerate(made):
        losses = generators.risk(config.generator, model, real.heldout.items, seeds, runtime=RUNTIME)
        seen.risk[i, generation] = losses["total"].mean()
        seen.excess[i, generation] = (losses["total"] - truth).mean()
        if generation in (0, len(made) - 1):
            features = extraction.extract(space, samples.items, shared=False)
            seen.fid[i, generation] = _fid(features, heldout, config)


def generate(config: Config, real: datasets.RealData, folder: Path) -> list[tuple[Path, Pool]]:
    """Run one chain and return every generation's model folder and samples, as `bench.loop` would produce them."""
    policy, history = mixing.resolve(config.mixing), loop.begin(config, real)
    pools = {pool.id: pool for pool in (real.train, real.reserve) if pool}
    made = []
    for generation in range(config.num_generations):
        composition = mixing.compose(policy, history)
        model = folder / str(generation)
        generators.fit(
            config.generator,
            composition.items(pools),
            seed=derive_seed(config.seed, generation, "train"),
            out=model,
            work=folder,
            runtime=RUNTIME,
        )
        num = config.num_samples or len(real.train)
        seeds = np.array([derive_seed(config.seed, generation, "sample", i) for i in range(num)], np.int64)
        items = generators.sample(config.generator, model, seeds, work=folder, runtime=RUNTIME)
        samples = Pool(items, Records.synthetic(generation, seeds))
        pools[samples.id] = samples
        history = history.grown(PoolRef.of(samples, generation))
        made.append((model, samples))
    return made


def _fid(subject: np.ndarray, heldout: np.ndarray, config: Config) -> float:
    rows = metrics.score((subject, heldout), config.metrics)
    return next(row["value"] for row in rows if row["metric"] == "fid")


def _first(generation: int) -> list[Draw]:
    return [Draw({REAL: NUM_POINTS}, NUM_POINTS)]


def _some(pool: str, num: int, size: int | None = None) -> Draw:
    return Draw({pool: size or NUM_POINTS}, num)


def _replace(g: int) -> list[Draw]:
    return [_some(samples_of(g - 1), NUM_POINTS)] if g else _first(g)


def _accumulate(g: int) -> list[Draw]:
    return [*_first(g), *(_some(samples_of(k), NUM_POINTS) for k in range(g))]


def _accumulate_subsample(g: int) -> list[Draw]:
    return [Draw(dict.fromkeys((REAL, *map(samples_of, range(g))), NUM_POINTS), NUM_POINTS)]


def _blend(g: int) -> list[Draw]:
    half = NUM_POINTS // 2
    return [_some(REAL, half), _some(samples_of(g - 1), half)] if g else _first(g)


def _blend_fixed(g: int) -> list[Draw]:
    """Return the draws, with the half of the real points that stays as one pool and the other half as another."""
    half = NUM_POINTS // 2
    return [_some("kept", half, half), _some(samples_of(g - 1), half) if g else _some("others", half, half)]


def _augment(g: int) -> list[Draw]:
    return [*_first(g), *([_some(samples_of(g - 1), NUM_POINTS)] if g else [])]


def _window(g: int) -> list[Draw]:
    num_real = NUM_POINTS // 4
    recent = {samples_of(k): NUM_POINTS for k in range(max(0, g - 2), g)}
    return [_some(REAL, num_real), Draw(recent, NUM_POINTS - num_real)] if g else _first(g)


def _fresh(ratio: float) -> Plan:
    def plan(g: int) -> list[Draw]:
        num = round((1 - ratio) * NUM_POINTS)
        return [_some(f"new {g}", num, num), _some(samples_of(g - 1), NUM_POINTS - num)] if g else _first(g)

    return plan


ML = "maximum_likelihood"


def _real_only(g: int) -> list[Draw]:
    """Return a draw of half of the real points, redrawn in every generation after the first, and no samples."""
    return [_some(REAL, NUM_POINTS // 2)] if g else _first(g)


LOOPS = {
    x.name: x
    for x in (
        Loop("replace", "replace", _replace),
        Loop("replace, scores", "replace", _replace, dimension=1, with_scores=True),
        Loop("replace, ML", "replace", _replace, estimator=ML),
        Loop("accumulate", "accumulate", _accumulate),
        Loop("accumulate, ML", "accumulate", _accumulate, estimator=ML),
        Loop("accumulate_subsample", "accumulate_subsample", _accumulate_subsample),
        Loop("blend .5", "blend", _blend, {"synthetic_ratio": 0.5}),
        Loop("blend .5 fixed", "blend", _blend_fixed, {"synthetic_ratio": 0.5, "real_part": "fixed"}),
        Loop("real_only .5", "real_only", _real_only, {"synthetic_ratio": 0.5}),
        Loop("augment 1", "augment", _augment, {"synthetic_per_real": 1.0}),
        Loop("window 2, .75", "window", _window, {"synthetic_ratio": 0.75, "num_generations": 2}),
        Loop("fresh .5", "fresh", _fresh(0.5), {"synthetic_ratio": 0.5}),
        Loop("fresh .9", "fresh", _fresh(0.9), {"synthetic_ratio": 0.9}),
        Loop("replace, categories", "replace", _replace, world="categories"),
        Loop("accumulate, categ.", "accumulate", _accumulate, world="categories"),
        Loop("replace, fixation", "replace", _replace, world="categories", num_points=4, num_generations=16),
        Loop("replace, regression", "replace", _replace, world="regression"),
        Loop("accumulate, regr.", "accumulate", _accumulate, world="regression"),
    )
}
"""The loops by name. They cover all policies of the benchmark except user-defined ones."""
