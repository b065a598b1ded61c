"""How fast we are beside what a user would pick instead: `python -m bench.perf`, or `make perf`."""
