"""The options of a language model: network, training, sampling."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench.config import GeneratorConfig
from bench.errors import ConfigError
from bench.generators.shared.schedule import TrainingConfig as Schedule
from bench.options import option

MOST_TOKENS = 2**20
"""Largest size of a vocabulary."""


@dataclass
class NetworkConfig:
    """A small OPT (Zhang et al. 2022) with random weights, for machines without access to the hub. vocab_size: at least
    the number of different tokens in the data; token 0 stands before every block."""

    vocab_size: int = option(512, at_least=2, at_most=MOST_TOKENS)
    hidden_size: int = option(64, at_least=1, at_most=16_384)
    num_layers: int = option(2, at_least=1, at_most=256)
    num_heads: int = option(4, at_least=1, at_most=1024)
    dropout: float = option(0.0, at_least=0, at_most=0.9)

    def validate(self) -> None:
        if self.hidden_size % self.num_heads:
            raise ConfigError("num_heads", self.num_heads, f"must divide hidden_size, which is {self.hidden_size}")


@dataclass
class TrainingConfig(Schedule):
    """The schedule of a training on blocks of tokens, which are never flipped."""

    horizontal_flip: bool = False

    def validate(self) -> None:
        super().validate()
        if self.horizontal_flip:
            raise ConfigError("horizontal_flip", True, "tokens cannot be flipped: set false")
        if self.num_micro_batches != 1:
            raise ConfigError("num_micro_batches", self.num_micro_batches, "a language model takes 1 only")


@dataclass
class SamplingConfig:
    """How blocks are drawn. prompt_size: number of tokens at the end of a block of the real pool that the drawn block
    continues and does not contain; null: the whole block; 0: none. context_size: largest number of tokens that the
    model reads; if there are more, it reads the newest half of that number; null: as many as the model can read.
    num_beams: 1 draws each token by its probability; with more, a search with that many beams returns the most likely
    block that it finds, and nothing is drawn. temperature, top_k (0: off), top_p (1: off) and repetition_penalty (1:
    off) change the probabilities as in transformers."""

    prompt_size: int | None = option(None, at_least=0)
    context_size: int | None = option(None, at_least=2)
    num_beams: int = option(1, at_least=1, at_most=1024)
    temperature: float = option(1.0, above=0)
    top_k: int = option(0, at_least=0)
    top_p: float = option(1.0, above=0, at_most=1)
    repetition_penalty: float = option(1.0, above=0)

    def validate(self) -> None:
        if self.num_beams > 1:
            for name, off in (("temperature", 1.0), ("top_k", 0), ("top_p", 1.0)):
                if getattr(self, name) != off:
                    raise ConfigError(
                        name, getattr(self, name), f"beam search does not sample: set {off}, or num_beams=1"
                    )


@dataclass
class Config(GeneratorConfig):
    """A causal language model from transformers. model: the base model from which every generation is fine-tuned: its
    name on the Hugging Face hub, or a folder with config.json and safetensors weights; null: the small OPT of
    `network`, which is not used otherwise. revision: the revision of the model on the hub."""

    name: str = "language_model"
    model: str | None = option(None, stage=None, file=True)  # stage keys contain its content instead
    revision: str = "main"
    network: NetworkConfig = option(NetworkConfig)
    training: TrainingConfig = option(TrainingConfig)
    sampling: SamplingConfig = option(SamplingConfig, stage="sample")

    def validate(self) -> None:
        if find_spec("transformers") is None:
            hint = "needs the package transformers: pip install 'diffusion-collapse-bench[language]'"
            raise ConfigError("name", self.name, hint)
        if self.model is not None:
            check_folder(Path(self.model))


def check_folder(folder: Path) -> None:
    """Raise `ConfigError` if a folder has no model with safetensors weights, or if a path that does not exist cannot be
    a name on the hub."""
    if not folder.exists():
        if folder.is_absolute() or str(folder).startswith(".") or len(folder.parts) > 2:
            raise ConfigError("model", str(folder), "there is no such folder, and no model of the hub has such a name")
        return
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if "config.json" not in names:
        raise ConfigError("model", str(folder), "must be a folder with config.json and *.safetensors")
    if not any(name.endswith(".safetensors") for name in names):
        pickled = [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
        refused = f": {pickled[0]} is a pickle, which can run code when it is read" if pickled else ""
        raise ConfigError("model", str(folder), f"must have weights as *.safetensors{refused}")
