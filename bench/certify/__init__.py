"""The certificate: loops with a known outcome, run by this project's own code and compared with exact theory.

`theory` computes the exact values and shares no code with the rest. `chains` runs the policies, the split, the
generators and the scores of the benchmark. `__main__` compares the two. Run it with `python -m bench.certify`; see
docs/testing.md.
"""
