"""From the ledger to what a person looks at. Needs no GPU, no torch and no training code: `python -m
bench.report RUNS…`."""

from bench.report.build import Report, write

__all__ = ["Report", "write"]
