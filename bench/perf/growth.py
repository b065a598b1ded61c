"""How the cost of scores grows with N: seconds and peak memory beyond the features, at d = 2048."""

from typing import Any

from bench.perf.peak import measure

GROWING = ("frechet", "manifold", "kernel")

SIZES = (1_000, 5_000, 20_000, 50_000)

THEIRS = ("torch_fidelity_full", "torch_fidelity_parts", "prdc")
"""At one N, beside ours: they hold whole matrices of distances."""

BESIDE = 10_000

PATIENCE = 1200.0
"""Seconds for one measurement."""


def scores(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """One entry a score and N: {"work", "n", "seconds", "extra_mib"}; the last two None where `PATIENCE` ended."""
    wanted = [(work, n) for work in GROWING for n in sizes]
    wanted += [(work, BESIDE) for work in ("manifold", *THEIRS)]
    nothing = {"seconds": None, "extra_mib": None}
    return [{"work": work, "n": n, **(measure(work, n, PATIENCE) or nothing)} for work, n in wanted]
