"""Reference results: one small file per condition and seed, which ship with the package and which anyone can check.

`columns` is their form, `result_file` one file, `shelf` where they lie, `likeness` how alike two results are,
`verification` what a run has to pass. Everything is made from the rows of ledgers; nothing here trains or samples.
"""
