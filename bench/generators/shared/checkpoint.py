"""Checkpoints of a training: one safetensors file each, written atomically. The newest two are kept."""

import hashlib
import json
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from bench.files import write_aside

log = logging.getLogger(__name__)

_KEPT = 2


def save(directory: Path, step: int, tensors: dict[str, torch.Tensor], about: dict[str, Any]) -> Path:
    """Write the checkpoint `step-<step>.safetensors`, and remove all but the newest two.

    Args:
        directory: The directory to write to; created if absent.
        step: Number of steps done.
        tensors: The state of the training, by name.
        about: JSON-compatible facts, stored in the file's header together with the step.

    Returns:
        The path of the checkpoint, which is on the disk when the function returns.
    """
    return _write(directory, step, _on_cpu(tensors), about)


class Writer:
    """Writes the checkpoints of a training in a separate thread, one at a time. A training waits only while its state
    is copied to the memory of the CPU, or if writing a checkpoint takes longer than the interval between two.

    The last write has finished at the end of the `with`, also if the body raised. An error of a write, such as a full
    disk, is raised at the next checkpoint or, unless the body raised, at the end of the `with`.
    """

    def __init__(self, directory: Path) -> None:
        """Create a writer of checkpoints in a directory."""
        self.directory = directory
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[Path] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._thread.shutdown()
        if error is None:
            self.wait()

    def save(self, step: int, tensors: dict[str, torch.Tensor], about: dict[str, Any]) -> None:
        """Copy the state of a training, and write it as `checkpoint.save` does while the training continues."""
        self.wait()
        copies = _on_cpu(tensors)
        self._pending = self._thread.submit(_write, self.directory, step, copies, about)

    def wait(self) -> None:
        """Wait until the last checkpoint is on the disk."""
        if self._pending is not None:
            self._pending.result()
            self._pending = None


def _on_cpu(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return contiguous copies of tensors in the memory of the CPU."""
    return {
        name: torch.empty_like(tensor, device="cpu", memory_format=torch.contiguous_format).copy_(tensor.detach())
        for name, tensor in tensors.items()
    }


def _write(directory: Path, step: int, copies: dict[str, torch.Tensor], about: dict[str, Any]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"step-{step:08d}.safetensors"
    header = {**about, "step": step, "sha256": _sha256(copies)}
    with write_aside(path) as partial:
        save_file(copies, partial, metadata={"about": json.dumps(header)})
    for old in _newest_first(directory)[_KEPT:]:
        old.unlink()
    return path


def load(directory: Path, identity: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Return the tensors, on the CPU, and the header of the newest readable checkpoint whose `about["identity"]` is
    `identity`, or None if there is no such checkpoint."""
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
    """Return the path of the newest checkpoint of any identity, or None if there is none."""
    return next(iter(_newest_first(directory)), None)


def _newest_first(directory: Path) -> list[Path]:
    return sorted(directory.glob("step-*.safetensors"), reverse=True)


def _sha256(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode() + b"\0")
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
