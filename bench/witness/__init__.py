"""An independent witness of finished chains: it derives again whatever can be derived, and names all differences.

It reads files and shares no other code with what it checks. Seeds, policies, noise, training and sampling are
implemented here a second time, slowly and plainly; scores come from torch-fidelity, prdc, scikit-learn and SciPy.
`python -m bench.audit --deep RUN` runs it.
"""
