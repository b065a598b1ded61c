"""Speed compared with what a user would pick instead: `python -m bench.perf`, or `make perf`. Not in the wheel."""
