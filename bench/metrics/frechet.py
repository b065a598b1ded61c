"""Fréchet distance between Gaussian fits of two sets of features: FID (Heusel et al. 2017) in Inception's space, and
its extrapolation to infinitely many images (Chong & Forsyth 2020)."""

from collections.abc import Iterator

from bench.metrics.shared.inputs import Inputs, Value

NEEDS = ("features",)
COMPARISON = True
VERSION = 5
METRICS = ("fid", "fid_infinity")
CITATION = {
    "fid": """@inproceedings{heusel2017fid,
  title     = {{GANs} Trained by a Two Time-Scale Update Rule Converge to a Local {Nash} Equilibrium},
  author    = {Heusel, Martin and Ramsauer, Hubert and Unterthiner, Thomas and Nessler, Bernhard and Hochreiter, Sepp},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2017},
}""",
    "fid_infinity": """@inproceedings{chong2020unbiased,
  title     = {Effectively Unbiased {FID} and {Inception Score} and Where to Find Them},
  author    = {Chong, Min Jin and Forsyth, David},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2020},
}""",
}


def score(inputs: Inputs, config: None) -> Iterator[Value]:
    """Yield `fid`, and `fid_infinity` if N is large enough for it."""
    from bench.metrics.shared.frechet_distance import can_extrapolate, frechet_distance, frechet_infinity

    width = {"dimension": inputs.subject.shape[1]}
    yield Value("fid", frechet_distance(inputs.subject, inputs.moments, inputs.device), "down", extra=width)
    if can_extrapolate(*inputs.subject.shape):
        value = frechet_infinity(inputs.subject, inputs.reference, device=inputs.device)
        yield Value("fid_infinity", value, "down", extra=width)
