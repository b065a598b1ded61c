"""The certificate: loops whose end can be computed, run by this project's own code and compared with mathematics.

`theory` computes and shares no code with the rest; `chains` runs the policies, the split, the generator and the scores
of the benchmark; `__main__` compares. `python -m bench.certify`; docs/testing.md.
"""
