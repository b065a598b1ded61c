"""An independent witness of finished chains: derives again whatever can be derived, and names what differs.

It reads files and shares no other code with what it checks: seeds, policies, noise, training and sampling are written
here a second time, slowly and plainly; scores come from torch-fidelity, prdc, scikit-learn and SciPy.
`python -m bench.audit --deep RUN` runs it.
"""
