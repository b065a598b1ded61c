"""Reference results: one small file per condition and seed, shipped with the package, which anyone can check.

`columns` converts rows to columns and back, `result_file` reads and writes one file, `shelf` manages the folder of
files, `likeness` compares a run with its reference, and `verification` checks whether a run may stand beside it.
Everything is computed from the rows of ledgers; nothing here trains or samples.
"""
