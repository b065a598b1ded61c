"""Hydra's YAML files. A package, so that they ship in the wheel and are found as pkg://bench.conf."""
