"""Speed compared with what a user would choose instead: `python -m bench.perf`, or `make perf`. Not in the wheel."""
