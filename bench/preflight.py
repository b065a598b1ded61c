"""Everything about a chain that can be checked before any work: one place for a single run and for a sweep."""

from bench import datasets, generators, metrics, mixing, registry, selection, vetting
from bench.config import Config


def check(config: Config) -> None:
    """Import every component that a chain names, bind its parameters, and see that the components fit together.

    Raises `ConfigError` that names the key. Loads no data, no weights, and no torch for the project's own components.
    """
    module, _ = registry.module_and_config("data", config.data, datasets.VERBS)
    registry.version(module, "real")
    kind = getattr(module, "KIND", "images")
    if kind == "images":
        generators.check(config.generator, kind, (3, config.data.resolution, config.data.resolution))
    generators.train_spec(config.generator)
    generators.sample_spec(config.generator)
    if "model" in metrics.needs(config.metrics):
        generators.risk_spec(config.generator)
    generators.with_num_steps(config.generator, config.metrics.num_images, config.retrain_epochs)
    mixing.resolve(config.mixing)
    for stage, rule in (
        ("vet", vetting.resolve(config.vetting)),
        ("select", selection.resolve(config.selection, config.num_samples or config.metrics.num_images)),
    ):
        if rule is not None:
            registry.version(rule.module, stage)
    metrics.score_spec(config.metrics)
    metrics.in_extra_spaces(config.metrics)
