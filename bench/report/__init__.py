"""Reports on finished chains: tables, figures, page and cards, written by `python -m bench.report RUNS…`.

This package needs no GPU, no torch and no training code.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.report.build import Written, write

__all__ = ["Written", "write"]


def __getattr__(name: str) -> Any:
    """Import `Written` and `write` on first use (PEP 562), so that --help does not wait for Matplotlib and SciPy."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bench.report import build

    return getattr(build, name)
