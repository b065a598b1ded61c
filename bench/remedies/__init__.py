"""Remedies in the generator: what a generation is drawn from in place of its trained model. One file per remedy; `none`
draws from the trained model itself.

A remedy is made of two models: the trained one, and the same after a short training on its own samples, which shows the
direction in which self-training leads. It offers `Config` (a `SelfTrainingConfig` with a `weight` of at least 0),
`VERSION`, `CITATION`, `VERB`, what a generator does with the two (`bench.generators.combine`), and `NUM_NETWORKS`, how
many networks one evaluation of the outcome takes. The next generation trains without it: with `warm_start` training
goes on from the trained weights.
"""

from dataclasses import asdict
from typing import Any

from bench import registry
from bench.config import RemedyConfig


class Remedy(registry.Component):
    """The remedy of a chain."""

    @property
    def verb(self) -> str:
        """What the generator does with the two models."""
        return str(self.module.VERB)

    @property
    def num_networks(self) -> int:
        """How many networks one evaluation of the outcome takes."""
        return int(self.module.NUM_NETWORKS)

    def spec(self) -> dict[str, Any]:
        """Return what changes the outcome, given the two models, for its key in the store."""
        parameters = {name: value for name, value in asdict(self.config).items() if name != "name"}
        return {"rule": self.name, "parameters": parameters, "code": registry.version(self.module, "remedy")}


def resolve(config: RemedyConfig) -> Remedy | None:
    """Return the remedy that a chain names; None for `none`. Raises `ConfigError` where there is none of that name."""
    if config.name == registry.NONE:
        return None
    return Remedy(registry.load("bench.remedies", config.name, "remedy.name"), config)
