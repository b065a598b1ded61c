"""Load the weights of feature extractors, without executing code, and identify them by their SHA-256."""

from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from bench import files
from bench.errors import MetricError

if TYPE_CHECKING:
    import torch


def hub_folder() -> Path:
    """Return the folder where torch, and other packages that use the same weights, store downloaded files."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits, cached until its size or modification time changes. Raises
    `MetricError` if the file is missing."""
    if not path.is_file():
        raise MetricError(f"weights file {path} does not exist: give an existing file, or leave metrics.weights null")
    return files.remembered_sha256(path)


def download(url: str, path: Path, sha256: str | None = None) -> None:
    """Download a file to `path`, which appears complete or not at all. Raises `MetricError` for a failed download or a
    wrong checksum; the message explains what to do without a network."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):  # the chains of a sweep may start at the same time
            if not path.is_file():
                files.download(url, path, sha256)
    except OSError as error:
        raise MetricError(
            f"the weights could not be downloaded from {url} ({error}): fetch that file where there is network, "
            f"then put it at {path} or name it in metrics.weights"
        ) from error


def load_tensors(path: Path) -> "dict[str, torch.Tensor]":
    """Return the state dict of a .safetensors file or of a PyTorch file that contains only tensors.

    Raises `MetricError` for anything else, in particular for pickles that would execute code.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError) as error:
        raise MetricError(f"weights file {path} cannot be read: {error}") from error
    except Exception as error:  # torch raises errors of pickle, of zipfile and its own
        raise MetricError(f"weights file {path} is not a plain state dict: {type(error).__name__}") from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise MetricError(f"weights file {path} is not a plain state dict of tensors")
    return state


def fill(network: "torch.nn.Module", state: "dict[str, torch.Tensor]", path: Path) -> None:
    """Load a state dict into a network, strictly. Raises `MetricError`, which names the file, if it does not fit."""
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()[:300] if "\n" in str(error) else str(error)
        raise MetricError(f"weights file {path} does not fit {type(network).__name__}: {reason}") from error
