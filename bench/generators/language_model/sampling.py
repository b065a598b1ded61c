"""Sampling of blocks, each of which continues its prompt, the end of a given block."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers

from bench.errors import SamplingError
from bench.generators.language_model import network
from bench.generators.language_model.settings import Config, SamplingConfig
from bench.generators.shared.blocks import sample_in_blocks
from bench.generators.shared.noise import uniform
from bench.machine.device import Runtime

TILE = 128
"""Blocks per network evaluation. The last bits of the logits depend on it, so it is part of the sampling version."""


def sample(
    config: Config,
    model: Path,
    seeds: np.ndarray,
    *,
    work: Path,
    runtime: Runtime,
    progress: Callable[[int, int], None],
    prompts: np.ndarray,
) -> np.ndarray:
    """Continue the end of block i of `prompts`, int32 (n, L), with tokens drawn only from the noise of `seeds[i]`.
    Returns the new tokens, int32 (n, L). Other Args are those of `bench.generators.sample`."""
    own = network.load(model, runtime)
    size = prompts.shape[1]
    ends = prompts[:, size - (size if config.sampling.prompt_size is None else config.sampling.prompt_size) :]
    at = {int(seed): row for row, seed in enumerate(seeds)}

    def draw(part: np.ndarray, report: Callable[[int], None]) -> np.ndarray:
        blocks = np.empty((len(part), size), np.int32)
        for first in range(0, len(part), TILE):
            keys = part[first : first + TILE]
            padded = np.resize(keys, TILE)  # fill the tile by repetition
            prompt = torch.from_numpy(ends[[at[int(seed)] for seed in padded]]).long().to(runtime.device)
            drawn = continued(own, prompt, torch.from_numpy(padded).to(runtime.device), size, config.sampling, runtime)
            blocks[first : first + TILE] = drawn[: len(keys)].int().cpu().numpy()
            report(first + len(keys))
        return blocks

    return sample_in_blocks(seeds, draw, shape=(size,), dtype=np.int32, block=16 * TILE, work=work, progress=progress)


@torch.inference_mode()
def continued(
    own: network.Network,
    prompt: torch.Tensor,
    seeds: torch.Tensor,
    num: int,
    sampling: SamplingConfig,
    runtime: Runtime,
) -> torch.Tensor:
    """Return the next `num` tokens after each prompt, int64 (n, num).

    When the context is full, its newest half is kept, again after the start token, as in training.

    Args:
        own: The network.
        prompt: int64 (n, P).
        seeds: int64 (n,), the seed of the draws for each row.
        num: Number of tokens to draw.
        sampling: Gives the context, the beams and the options that change the probabilities.
        runtime: Device and precision.
    """
    start, most = network.start_token(own), network.num_positions(own) - 1
    context = min(sampling.context_size or most, most)
    tokens, end = prompt, prompt.shape[1] + num
    while tokens.shape[1] < end:
        have, left = tokens.shape[1], end - tokens.shape[1]
        keep = have if have + left <= context else min(have, context // 2)
        read = network.with_start(tokens[:, have - keep :], start)
        step = min(left, context - keep)
        with runtime.mixed_precision():
            if sampling.num_beams > 1:
                new = _search(own, read, step, sampling)
            else:
                new = _draw(own, read, step, sampling, seeds, first=have - prompt.shape[1])
        tokens = torch.cat([tokens, new], dim=1)
    return tokens[:, prompt.shape[1] :]


def _draw(
    own: network.Network, read: torch.Tensor, num: int, sampling: SamplingConfig, seeds: torch.Tensor, first: int
) -> torch.Tensor:
    """Draw `num` tokens one by one, those of a row only from the noise of its seed. first: Number of the first draw."""
    change = processors(sampling)
    cache, given = None, read
    for at in range(num):
        out = own(input_ids=given, cache=cache, use_cache=True, logits_to_keep=1)
        cache = out.cache
        scores = out.logits[:, -1].float()
        if not scores.isfinite().all():
            raise SamplingError(f"{own.name_or_path}: the probabilities of a token are NaN")
        chances = change(read, scores).double().softmax(dim=-1)
        # an exponential race, equivalent to Gumbel-max: the smallest of exponential variables with these rates wins
        clocks = -uniform(seeds, (chances.shape[1],), draw=first + at).log() / chances
        given = clocks.argmin(dim=-1, keepdim=True)
        read = torch.cat([read, given], dim=1)
    return read[:, read.shape[1] - num :]


def _search(own: network.Network, read: torch.Tensor, num: int, sampling: SamplingConfig) -> torch.Tensor:
    """Return the most likely `num` tokens that beam search finds, int64 (n, num)."""
    own.generation_config = transformers.GenerationConfig(
        max_new_tokens=num, num_beams=sampling.num_beams, repetition_penalty=sampling.repetition_penalty, pad_token_id=0
    )  # no end token: a block has a fixed length
    found = own.generate(input_ids=read, attention_mask=torch.ones_like(read))
    return found[:, read.shape[1] :]


def processors(sampling: SamplingConfig) -> transformers.LogitsProcessorList:
    """Return the processors that change the scores of the next token, in the order of transformers."""
    chosen = transformers.LogitsProcessorList()
    if sampling.repetition_penalty != 1:
        chosen.append(transformers.RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.temperature != 1:
        chosen.append(transformers.TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        chosen.append(transformers.TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        chosen.append(transformers.TopPLogitsWarper(sampling.top_p))
    return chosen
