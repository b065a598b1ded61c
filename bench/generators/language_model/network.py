"""The network: built from random weights, or loaded from a folder or the hub, always as safetensors."""

from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import PreTrainedModel as Network

from bench.errors import ConfigError, SamplingError
from bench.generators.language_model.settings import Config, NetworkConfig
from bench.machine.device import Runtime

transformers.utils.logging.disable_progress_bar()  # the console shows the progress of stages


def build(config: NetworkConfig, block_size: int, seed: int) -> Network:
    """Return a small OPT for blocks of `block_size` tokens with weights drawn from `seed`; the global random state
    does not change."""
    about = transformers.OPTConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        word_embed_proj_dim=config.hidden_size,
        ffn_dim=4 * config.hidden_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        max_position_embeddings=block_size + 1,
        dropout=config.dropout,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return transformers.OPTForCausalLM(about)


def is_built_from(config: NetworkConfig, block_size: int, found: Network) -> bool:
    """Return whether a network has the sizes of one that `build` makes."""
    about = found.config
    shape = about.vocab_size, about.hidden_size, about.num_hidden_layers, about.num_attention_heads
    wanted = config.vocab_size, config.hidden_size, config.num_layers, config.num_heads
    return (*shape, about.max_position_embeddings) == (*wanted, block_size + 1)


def load_base(config: Config) -> Network:
    """Return the base model to fine-tune, in float32. Raises `ConfigError` if it is not found, has no safetensors
    weights, or lacks some of them."""
    assert config.model is not None
    try:
        return _load(config.model, config.revision)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        said = (str(error).strip() or "no reason given").splitlines()[0]
        allowed = (
            f"cannot be loaded with safetensors weights ({type(error).__name__}: {said}). Without a network, name a "
            "folder that has config.json and *.safetensors, or set null for a small OPT"
        )
        raise ConfigError("generator.model", config.model, allowed) from error


def load(model: Path, runtime: Runtime) -> Network:
    """Return the network of a stored model on the runtime's device, for inference. Raises `SamplingError` if a weight
    is NaN or infinite."""
    network = _load(str(model), None)
    bad = [name for name, weight in network.named_parameters() if not weight.isfinite().all()]
    if bad:
        raise SamplingError(f"{model}: {len(bad)} weights, e.g. {bad[0]}, are NaN or infinite: train it again")
    return network.eval().requires_grad_(False).to(runtime.device)


def start_token(network: Network) -> int:
    """Return the token that stands before every block: `bos_token_id`, or else `eos_token_id`. Raises `ConfigError` if
    the model's configuration has neither."""
    about = network.config.get_text_config()
    for token in (about.bos_token_id, about.eos_token_id):
        if isinstance(token, int):
            return token
    problem = "its config.json has neither bos_token_id nor eos_token_id, and a block needs a token to begin after"
    raise ConfigError("generator.model", network.config.name_or_path, problem)


def with_start(tokens: torch.Tensor, start: int) -> torch.Tensor:
    """Return blocks, int64 (n, L), with the start token before each, int64 (n, L + 1)."""
    return torch.cat([tokens.new_full((len(tokens), 1), start), tokens], dim=1)


def num_positions(network: Network) -> int:
    """Return how many tokens the network can read, including the start token."""
    return int(network.config.get_text_config().max_position_embeddings)


def num_tokens(network: Network) -> int:
    """Return the size of the network's vocabulary."""
    return int(network.config.get_text_config().vocab_size)


def _load(model: str, revision: str | None) -> Network:
    more: dict[str, Any] = {"revision": revision} if revision else {"local_files_only": True}
    network, about = transformers.AutoModelForCausalLM.from_pretrained(
        model, use_safetensors=True, trust_remote_code=False, dtype=torch.float32, output_loading_info=True, **more
    )
    missing = sorted(about["missing_keys"])
    if missing:  # transformers would draw them at random
        raise ValueError(f"its files lack {len(missing)} weights, e.g. {missing[0]}")
    return network
