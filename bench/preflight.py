"""Everything about a chain that can be checked before any work: one place for a single run and for a sweep."""

from bench import datasets, generators, metrics, mixing, registry, selection, vetting
from bench.config import Config


def check(config: Config) -> None:
    """Import every component that a chain names, bind its parameters, and see that the components fit together.

    Raises `ConfigError` that names the key. Loads no data, no weights, and no torch for the project's own components.
    """
    module, _ = registry.resolve("data", config.data, datasets.VERBS)
    kind = getattr(module, "KIND", "images")
    if kind == "images":
        generators.check(config.generator, kind, (3, config.data.resolution, config.data.resolution))
    generators.with_num_steps(config.generator, config.metrics.num_images, config.retrain_epochs)
    mixing.resolve(config.mixing)
    vetting.resolve(config.vetting)
    selection.resolve(config.selection, config.num_samples or config.metrics.num_images)
    metrics.check(config.metrics)
