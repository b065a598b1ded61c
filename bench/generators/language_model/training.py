"""Training on blocks of tokens. The loss is that of every token given the tokens before it in its block, in nats."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.errors import ConfigError, DataError
from bench.generators.language_model import VERSION, check, content, network
from bench.generators.language_model.settings import Config
from bench.generators.shared import steps
from bench.generators.shared.batches import open_batches
from bench.kinds import Items
from bench.machine.device import Runtime
from bench.options import stage_values
from bench.seeds import derive_seed

_BLOCK = 4096


def fit(
    config: Config,
    items: Items,
    *,
    seed: int,
    out: Path,
    work: Path,
    runtime: Runtime,
    progress: Callable[[int, int], None],
    init: Path | None = None,
) -> dict[str, Any]:
    """Train on blocks, int32 (N, L). Write the average (EMA) of the weights as a transformers folder, and the loss
    curve in nats per token.

    Args, Returns and Raises are those of `bench.generators.fit`.
    """
    check(config, items.shape[1:])
    trainee = LanguageTraining(config, items, seed, runtime, init)
    about = [VERSION["train"], stage_values(config, "train", "train"), content(config), items.shape[1], seed, str(init)]
    course = steps.train(
        trainee,
        config.training,
        identity=hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest(),
        device=runtime.device,
        work=work,
        progress=progress,
    )
    trainee.write(out, course.losses)
    num_parameters = sum(weight.numel() for weight in trainee.weights.values())
    return {**course.facts(config.training), "num_parameters": num_parameters, "data": trainee.batches.data}


class LanguageTraining(steps.Trainee):
    """Everything that a step changes: the weights, their average, and the optimiser's moments.

    Args:
        config: The generator's configuration.
        blocks: int32 (N, L).
        seed: Seed of every draw of the training.
        runtime: Device and precision.
        init: Directory of a model to start from; None: the base model, or weights drawn from `seed`.
    """

    def __init__(self, config: Config, blocks: Items, seed: int, runtime: Runtime, init: Path | None) -> None:
        self.config, self.blocks, self.seed, self.runtime = config, blocks, seed, runtime
        self.network = self._first(init).train().to(runtime.device)
        self.start = network.start_token(self.network)
        check_tokens(blocks, self.network)
        self.batches = open_batches(blocks, config.training, seed, runtime.device)
        self.weights = dict(self.network.named_parameters())
        self.average = {name: weight.detach().clone() for name, weight in self.weights.items()}
        training = config.training
        self.optimizer = torch.optim.AdamW(
            self.weights.values(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
        )

    def _first(self, init: Path | None) -> network.Network:
        """Return the network before the first step."""
        own = self.config.network
        if init is not None:
            found = network.load(init, self.runtime).requires_grad_(True)
            if self.config.model is None and not network.is_built_from(own, self.blocks.shape[1], found):
                problem = "the model to start from has another network than this config"
                raise ConfigError("generator", str(init), problem)
            return found
        if self.config.model is not None:
            return network.load_base(self.config)
        return network.build(own, self.blocks.shape[1], derive_seed(self.seed, 0, "weights"))

    def step(self, step: int) -> torch.Tensor:
        """Take one optimiser step and return the mean loss of its batch, in nats per token."""
        device = self.runtime.device
        tokens = network.with_start(self.batches.of_step(step).long(), self.start)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(derive_seed(self.seed, 0, "step", step))  # of dropout
            with self.runtime.mixed_precision():
                logits = self.network(input_ids=tokens[:, :-1], use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())
            self.optimizer.zero_grad()
            loss.backward()
        steps.update(self.weights, self.average, self.optimizer, self.config.training, step)
        return loss.detach()

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the weights, their averages and AdamW's state, as `<what>/<name of the weight>`."""
        return steps.tensors_of(self.weights, self.average, self.optimizer)

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Restore the state from the tensors of a checkpoint."""
        for name, weight in self.weights.items():
            weight.detach().copy_(tensors[f"weight/{name}"])
            self.average[name].copy_(tensors[f"average/{name}"])
            moments = {key: tensors[f"{key}/{name}"].to(weight.device) for key in ("step", "exp_avg", "exp_avg_sq")}
            self.optimizer.state[weight] = moments

    def write(self, out: Path, losses: list[tuple[int, float]]) -> None:
        """Write the averaged weights and the loss curve."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(self.average[name])
        self.network.eval().save_pretrained(out, max_shard_size="1TB")
        curve = [{"step": step, "mean_loss": loss} for step, loss in losses]
        (out / "losses.json").write_text(json.dumps(curve) + "\n")


def check_tokens(blocks: Items, own: network.Network) -> None:
    """Raise `DataError` if blocks have tokens outside the network's vocabulary, or are longer than it can read."""
    num, positions = network.num_tokens(own), network.num_positions(own)
    if blocks.shape[1] + 1 > positions:
        problem = f"and one to begin after are more than the {positions} that the model reads"
        raise DataError(f"data.block_size={blocks.shape[1]} tokens {problem}")
    for first in range(0, len(blocks), _BLOCK):
        part = blocks[np.arange(first, min(first + _BLOCK, len(blocks)))]
        if part.min() < 0 or part.max() >= num:
            wrong = int(part.max() if part.max() >= num else part.min())
            raise DataError(
                f"token {wrong} of the data is not in the model's vocabulary of {num} tokens: the tokenizer of the "
                "data must be that of generator.model, or generator.network.vocab_size must be larger"
            )
