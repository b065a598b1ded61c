"""An independent witness of finished chains: it recomputes whatever can be derived, and reports all differences.

Apart from readers of files and the tables of drawn species, it shares no code with what it checks. Seeds, policies,
noise, training and sampling are implemented here a second time, in a slow and plain way. Scores come from
torch-fidelity, prdc, scikit-learn and SciPy. `python -m bench.audit --deep RUN` runs it.
"""
