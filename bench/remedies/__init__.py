"""Remedies: replace the trained model that a generation is drawn from by a corrected one. One file per remedy; `none`
draws from the trained model itself.

A remedy combines two models: the trained one, and the same model after a short training on its own samples, which shows
the direction in which self-training leads. A remedy offers `Config` (a `SelfTrainingConfig` with a `weight` of at least
0), `VERSION`, `CITATION`, `VERB`, the operation by which a generator combines the two models
(`bench.generators.combine`), and `NUM_NETWORKS`, the number of networks that are evaluated for one evaluation of the
combined model. The next generation trains without the remedy: with `warm_start`, training continues from the trained
weights.
"""

from dataclasses import asdict
from typing import Any

from bench import registry
from bench.config import RemedyConfig


class Remedy(registry.Component):
    """The remedy of a chain."""

    @property
    def verb(self) -> str:
        """The operation by which the generator combines the two models."""
        return str(self.module.VERB)

    @property
    def num_networks(self) -> int:
        """The number of networks that are evaluated for one evaluation of the combined model."""
        return int(self.module.NUM_NETWORKS)

    def spec(self) -> dict[str, Any]:
        """Return everything that changes the combined model, given the two models, for its key in the store."""
        parameters = {name: value for name, value in asdict(self.config).items() if name != "name"}
        return {"rule": self.name, "parameters": parameters, "code": registry.version(self.module, "remedy")}


def resolve(config: RemedyConfig) -> Remedy | None:
    """Return the remedy that `config` names; None for `none`. Raises `ConfigError` if there is none of that name."""
    if config.name == registry.NONE:
        return None
    return Remedy(registry.load("bench.remedies", config.name, "remedy.name"), config)
