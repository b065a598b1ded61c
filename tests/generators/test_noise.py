"""Philox compared with its published vectors; the distribution of the normals and their independence of batch and
order."""

import pytest
import torch

from bench.generators.shared.noise import normal, philox4x32

# Random123's known-answer vectors for philox4x32, 10 rounds: counter, key, result
VECTORS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor([int(word, 16)]) for word in text.split())


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_philox_known_answers(counter: str, key: str, expected: str) -> None:
    assert philox4x32(words(counter), words(key)) == words(expected)


def test_normals_are_standard() -> None:
    x = normal(torch.arange(1000), (3, 16, 16), draw=0).double()
    n = x.numel()
    assert abs(x.mean()) < 5 / n**0.5
    assert abs(x.var() - 1) < 5 * (2 / n) ** 0.5
    assert abs((x**3).mean()) < 5 * (15 / n) ** 0.5
    assert abs((x**4).mean() - 3) < 5 * (96 / n) ** 0.5
    for bound, share in ((1.0, 0.682689), (2.0, 0.954500), (3.0, 0.997300)):
        assert abs((x.abs() < bound).double().mean() - share) < 5 * (share * (1 - share) / n) ** 0.5


def test_draws_seeds_and_pixels_are_uncorrelated() -> None:
    a = normal(torch.arange(500), (512,), draw=0)
    b = normal(torch.arange(500), (512,), draw=1)
    limit = 5 / a.numel() ** 0.5
    assert abs((a * b).mean()) < limit  # another draw
    assert abs((a[1:] * a[:-1]).mean()) < limit * 1.01  # the next seed
    for lag in (1, 2, 3, 4, 8):  # another pixel, of the same Philox block or not
        assert abs((a[:, lag:] * a[:, :-lag]).mean()) < limit * 1.02


def test_high_bits_of_the_seed_count() -> None:
    low, high = normal(torch.tensor([5, 5 + (1 << 40)]), (64,), draw=0)
    assert not torch.equal(low, high)


def test_an_image_has_the_same_noise_in_any_batch() -> None:
    seeds = torch.tensor([11, -3, 2**62 + 7, 11, 0])
    together = normal(seeds, (3, 5, 5), draw=2)  # 75 numbers: not a multiple of Philox's four
    assert torch.equal(together[0], together[3])
    for i in (4, 1, 2):
        assert torch.equal(normal(seeds[i : i + 1], (3, 5, 5), draw=2)[0], together[i])
