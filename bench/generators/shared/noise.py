"""Counter-based noise: the normals of an item are a function of only its seed.

Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") turns (seed, draw, position) into 32
random bits, and Box–Muller turns pairs of these into normals. There is no state, so items can be drawn in any order, in
any batch and on any device.
"""

import math

import torch

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

Words = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def philox4x32(counter: Words, key: tuple[torch.Tensor, torch.Tensor]) -> Words:
    """Return four random words per counter.

    All tensors are int64 with values in [0, 2^32), and are broadcast together. int64 products wrap around 2^64, which
    leaves both 32-bit halves the same as in unsigned arithmetic.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0 = c0 * _MULTIPLIERS[0]
        product1 = c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((product1 >> 32) & _MASK) ^ c1 ^ k0,
            product1 & _MASK,
            ((product0 >> 32) & _MASK) ^ c3 ^ k1,
            product0 & _MASK,
        )
        k0 = (k0 + _WEYL[0]) & _MASK
        k1 = (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def uniform(seeds: torch.Tensor, shape: tuple[int, ...], draw: int) -> torch.Tensor:
    """Return uniform numbers strictly between 0 and 1, in steps of 2^-32. Args are those of `normal`.

    Returns:
        float64 (n, *shape).
    """
    size = math.prod(shape)
    return _words(seeds, size, draw)[:, :size].reshape(len(seeds), *shape).double().add(0.5).mul(2.0**-32)


def normal(seeds: torch.Tensor, shape: tuple[int, ...], draw: int) -> torch.Tensor:
    """Return standard normals, without waiting for the device.

    Args:
        seeds: int64 (n,), on the device of the result.
        shape: Shape of one item.
        draw: Number of the independent tensor of each seed, e.g. 0 for the initial noise, s for that of solver step s.

    Returns:
        float32 (n, *shape).
    """
    size = math.prod(shape)
    words = _words(seeds, size, draw).unflatten(1, (-1, 4))
    chance = (words.to(torch.float32) + 0.5) * 2.0**-32  # in (0, 1]
    radius = torch.sqrt(-2.0 * torch.log(chance[..., 0::2]))
    angle = (2.0 * math.pi) * chance[..., 1::2]
    normals = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)
    return normals.flatten(1)[:, :size].reshape(len(seeds), *shape)


def _words(seeds: torch.Tensor, size: int, draw: int) -> torch.Tensor:
    """Return random words for each seed, int64 (n, size rounded up to a multiple of four)."""
    block = torch.arange((size + 3) // 4, device=seeds.device)[None, :]
    zero = torch.zeros_like(block)
    key = (seeds[:, None] & _MASK, (seeds[:, None] >> 32) & _MASK)
    w0, w1, w2, w3 = philox4x32((block, zero + draw, zero, zero), key)
    return torch.stack(torch.broadcast_tensors(w0, w1, w2, w3), dim=-1).flatten(1)
