"""Causal language models of transformers on blocks of tokens: fine-tuned from a base model, or a small OPT from random
weights (the language experiment of Shumailov et al. 2305.17493).

transformers is the optional extra `language`. The verbs load it and torch when they are called; importing this module
does not.
"""

from pathlib import Path
from typing import Any

from bench.errors import ConfigError
from bench.files import remembered_sha256
from bench.generators.language_model.settings import Config

VERSION = {"train": 1, "sample": 1, "risk": 1, "features": 1}
"""Must be raised, each by its stage, by any change that changes a trained model, the tokens of a sample, a loss, or a
feature."""
KINDS = ("tokens",)
LIKELIHOOD = True
PROMPTED = True
CITATION = """@misc{zhang2022opt,
  title         = {{OPT}: Open Pre-trained Transformer Language Models},
  author        = {Zhang, Susan and Roller, Stephen and Goyal, Naman and others},
  year          = {2022},
  eprint        = {2205.01068},
  archivePrefix = {arXiv},
}"""

__all__ = [
    "CITATION",
    "KINDS",
    "LIKELIHOOD",
    "PROMPTED",
    "VERSION",
    "Config",
    "check",
    "content",
    "features",
    "fit",
    "prefetch",
    "risk",
    "sample",
    "vocab_size",
]


def check(config: Config, shape: tuple[int, ...]) -> None:
    """Raise `ConfigError` if blocks of `shape` (L,) do not fit the options of sampling."""
    size, sampling = shape[0], config.sampling
    if sampling.prompt_size is not None and sampling.prompt_size > size:
        allowed = f"must be at most data.block_size, which is {size}: a prompt is the end of a block"
        raise ConfigError("generator.sampling.prompt_size", sampling.prompt_size, allowed)
    if config.model is None and (sampling.context_size or 0) > size:
        allowed = f"must be at most data.block_size, which is {size}: this network sees no more in training"
        raise ConfigError("generator.sampling.context_size", sampling.context_size, allowed)


def vocab_size(config: Config) -> int | None:
    """Return the size of the network's vocabulary; None if only the files of the base model contain it."""
    return config.network.vocab_size if config.model is None else None


def content(config: Config) -> dict[str, Any] | None:
    """Return what identifies the base model: the SHA-256 of each file of a folder, or the name on the hub; None without
    a base model."""
    if config.model is None:
        return None
    folder = Path(config.model)
    if not folder.is_dir():
        return {"hub": config.model}  # the spec contains the revision, as it does any other option
    files = sorted([folder / "config.json", *folder.glob("*.safetensors")])
    return {path.name: remembered_sha256(path) for path in files}


def prefetch(config: Config) -> str | None:
    """Download the base model, if there is one, to the cache that a training reads, and return its name, or None.

    Raises `ConfigError` if it cannot be loaded.
    """
    from bench.generators.language_model import network

    if config.model is not None:
        network.load_base(config)
    return config.model


def fit(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Train a model; see `bench.generators.language_model.training.fit`."""
    from bench.generators.language_model import training

    return training.fit(*args, **kwargs)


def sample(*args: Any, **kwargs: Any) -> Any:
    """Draw blocks; see `bench.generators.language_model.sampling.sample`."""
    from bench.generators.language_model import sampling

    return sampling.sample(*args, **kwargs)


def risk(*args: Any, **kwargs: Any) -> Any:
    """Compute the loss of blocks; see `bench.generators.language_model.reading.risk`."""
    from bench.generators.language_model import reading

    return reading.risk(*args, **kwargs)


def features(*args: Any, **kwargs: Any) -> Any:
    """Compute features of blocks; see `bench.generators.language_model.reading.features`."""
    from bench.generators.language_model import reading

    return reading.features(*args, **kwargs)
