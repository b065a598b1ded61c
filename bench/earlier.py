"""The earlier chain that a newcomer joins: which chain, after which generation, and at which share of samples."""

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
    """The earlier chain that a newcomer joins.

    generation: The generation after which the newcomer begins. ratio: The share of the newcomer's real pool that is
    samples. generations: The generations of the earlier chain that these samples come from.
    """

    chain: Chain
    generation: int
    ratio: float
    generations: tuple[int, ...]

    def row(self, generation: int) -> Row:
        """Return the ledger row of a generation."""
        return next(row for row in self.chain.rows if row.generation == generation)

    def real(self) -> Pool:
        """Return the real pool. Raises `DataError` if it is no longer stored, or is not what was recorded."""
        return self._pool(self.chain.rows[0], "real", "train")

    def samples(self, generation: int) -> Pool:
        """Return the samples of a generation. Raises `DataError` if they are no longer stored, or are not what was
        recorded."""
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
    """Return the earlier chain that this chain joins; None if it joins none.

    Raises `ConfigError` if there is no such chain or several chains match, if it has not reached `join.generation`, or
    if `join.ratio` is null and the chain has not trained the generation that would give the ratio.
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
                f"stands for the synthetic share of generation {join.generation + 1} of {chain.id}, which ends with "
                f"generation {last}: give a ratio, or run more generations of that chain",
            )
        ratio = float(after[0].composition["synthetic_ratio"])
    first = join.generation if join.samples_of == "last" else 0
    return Earlier(chain, join.generation, ratio, tuple(range(first, join.generation + 1)))


def _chosen(config: Config, folder: Path) -> Chain:
    """Return the chain in a chain's folder; in a sweep's folder, return the one chain that has the seed and mixing of
    `config` and joins no other chain. Raises `ConfigError` if there is not exactly one."""
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
            f"must be the folder of one chain, or contain exactly one chain with seed {config.seed} and the same "
            f"mixing that itself joins none; it contains {len(fitting)}: {held}",
        )
    return fitting[0]
