"""Checkpoints of a training: one safetensors file each, written whole or not at all. The newest two are kept."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from bench.files import write_aside

log = logging.getLogger(__name__)

_KEPT = 2


def save(directory: Path, step: int, tensors: dict[str, torch.Tensor], about: dict[str, Any]) -> Path:
    """Write the checkpoint `step-<step>.safetensors`, and remove all but the newest two.

    Args:
        directory: Where to write; created if absent.
        step: Number of steps done.
        tensors: The state of the training, by name.
        about: JSON-compatible facts, stored in the file's header together with the step.

    Returns:
        The path of the checkpoint, which is on the disk when the function returns.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"step-{step:08d}.safetensors"
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    header = {**about, "step": step, "sha256": _sha256(copies)}
    with write_aside(path) as partial:
        save_file(copies, partial, metadata={"about": json.dumps(header)})
    for old in _newest_first(directory)[_KEPT:]:
        old.unlink()
    return path


def load(directory: Path, identity: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Return the tensors, on the CPU, and the header of the newest readable checkpoint whose `about["identity"]` is
    `identity`, or None if there is none."""
    for path in _newest_first(directory):
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads(file.metadata()["about"])
                if about["identity"] != identity:
                    log.warning("%s belongs to another training: it is not used", path)
                    continue
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if _sha256(tensors) != about["sha256"]:
                raise ValueError("it does not match its checksum")
            return tensors, about
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is not a readable checkpoint (%s): trying an older one", path, error)
    return None


def newest(directory: Path) -> Path | None:
    """Return the path of the newest checkpoint, of whatever identity, or None if there is none."""
    return next(iter(_newest_first(directory)), None)


def _newest_first(directory: Path) -> list[Path]:
    return sorted(directory.glob("step-*.safetensors"), reverse=True)


def _sha256(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode() + b"\0")
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
