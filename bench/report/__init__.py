"""From the ledger to what a person looks at. Needs no GPU, no torch and no training code: `python -m
bench.report RUNS…`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.report.build import Report, write

__all__ = ["Report", "write"]


def __getattr__(name: str) -> Any:
    """`Report` and `write` on first use (PEP 562): Matplotlib and SciPy come with them, and --help does not wait."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bench.report import build

    return getattr(build, name)
