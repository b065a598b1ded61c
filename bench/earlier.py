"""The chain that a newcomer finds when it begins: which one, after which generation, and how polluted its world is."""

from dataclasses import dataclass
from pathlib import Path

from bench import ledger
from bench.analysis.artifacts import artifact_path
from bench.config import Config, chain_id, identity
from bench.errors import ConfigError, DataError, LedgerError
from bench.ledger import Chain, Row
from bench.pool import Pool, content_id


@dataclass(frozen=True)
class Earlier:
    """A chain that began before another one. generation: the newcomer begins after it. ratio: the share of what the
    newcomer takes for real items that is samples. generations: those that drew them."""

    chain: Chain
    generation: int
    ratio: float
    generations: tuple[int, ...]

    def row(self, generation: int) -> Row:
        """Return the row of one of its generations."""
        return next(row for row in self.chain.rows if row.generation == generation)

    def real(self) -> Pool:
        """Return its real pool. Raises `DataError` where it is not stored any more."""
        return self._pool(self.chain.rows[0], "real", "train")

    def samples(self, generation: int) -> Pool:
        """Return the samples of one of its generations. Raises `DataError` where they are not stored any more, or are
        not what was recorded."""
        return self._pool(self.row(generation), "samples")

    def _pool(self, row: Row, artifact: str, *folder: str) -> Pool:
        path = artifact_path(self.chain, row, artifact)
        what = f"generation {row.generation} of {self.chain.id}"
        if path is None:
            raise DataError(f"join.chain: the {artifact} items of {what} are not in {row.store_dir} any more")
        pool = Pool.load(path.joinpath(*folder))
        if content_id(pool.items, pool.records) != pool.id:
            raise DataError(f"join.chain: {path} does not hold the {artifact} items of {what}: its files were changed")
        return pool


def find(config: Config) -> Earlier | None:
    """Return the chain that this one joins; None where it begins in a clean world.

    Raises `ConfigError` where there is no such chain or it is not clear which one is meant, where it has not run so
    far, and where its pollution is asked for and not known.
    """
    join = config.join
    if join.chain is None:
        return None
    chain = _chosen(config, Path(join.chain).expanduser())
    last = chain.rows[-1].generation
    if not any(row.generation == join.generation for row in chain.rows):
        raise ConfigError("join.generation", join.generation, f"{chain.id} has generations 0 to {last}")
    ratio = join.ratio
    if ratio is None:
        after = [row for row in chain.rows if row.generation == join.generation + 1]
        if not after:
            raise ConfigError(
                "join.ratio",
                None,
                f"is the synthetic share that {chain.id} trained generation {join.generation + 1} on, and it ends with "
                f"generation {last}: give a ratio, or run it on",
            )
        ratio = float(after[0].composition["synthetic_ratio"])
    first = join.generation if join.samples_of == "last" else 0
    return Earlier(chain, join.generation, ratio, tuple(range(first, join.generation + 1)))


def _chosen(config: Config, folder: Path) -> Chain:
    """Return the chain of a folder, or of a sweep's folder the one with the seed and the mixing of this chain."""
    try:
        found = ledger.read_runs([folder])
    except LedgerError as error:
        raise ConfigError("join.chain", str(folder), f"is no chain: {error}") from error
    if (folder / ledger.FILENAME).exists():
        return found[0]
    fitting = [
        chain
        for chain in found
        if not chain.rows[0].joined
        and chain.id != chain_id(config)
        and chain.rows[0].seed == config.seed
        and identity(chain.rows[0].config)["mixing"] == identity(config)["mixing"]
    ]
    if len(fitting) != 1:
        held = ", ".join(chain.id for chain in fitting or found)
        raise ConfigError(
            "join.chain",
            str(folder),
            f"must be the folder of one chain, or hold one with seed {config.seed} and the same mixing that joins "
            f"none; it holds {len(fitting)} of them: {held}",
        )
    return fitting[0]
