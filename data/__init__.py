"""Data set manifests. A package, so that they ship in the wheel."""
