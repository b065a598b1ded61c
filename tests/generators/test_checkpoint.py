"""Checkpoints: loading returns what was saved, from the newest checkpoint of the same training, or nothing."""

import logging
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bench.generators.shared import checkpoint

MINE = {"identity": "mine", "losses": [1.5, 0.5]}


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"weights": torch.full((3, 4), value), "step": torch.tensor(int(value)), "ema": torch.full((3, 4), -value)}


def test_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    saved = {
        "transposed": torch.arange(12.0).reshape(3, 4).T,
        "slice": torch.arange(12).reshape(3, 4)[:, 1],
        "bf16": torch.arange(5, dtype=torch.bfloat16),
        "scalar": torch.tensor(7),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "flags": torch.tensor([True, False]),
    }
    saved["shared"] = saved["parameter"]  # safetensors rejects memory that two names share
    path = checkpoint.save(tmp_path / "new" / "folder", 12, saved, MINE)
    assert path.parent == tmp_path / "new" / "folder" and path.is_file()
    restored = checkpoint.load(path.parent, "mine")
    assert restored is not None
    loaded, about = restored
    assert set(loaded) == set(saved)
    for name, tensor in saved.items():
        torch.testing.assert_close(loaded[name], tensor.detach(), rtol=0, atol=0)
    assert about["step"] == 12 and {name: about[name] for name in MINE} == MINE


def test_the_newest_is_the_one_of_the_latest_step(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        checkpoint.save(tmp_path, step, tensors(step), MINE)
    newest = checkpoint.newest(tmp_path)
    assert newest is not None and "100" in newest.name
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-00000010.safetensors",
        "step-00000100.safetensors",
    ]
    restored = checkpoint.load(tmp_path, "mine")
    assert restored is not None and restored[1]["step"] == restored[0]["step"] == 100


def test_without_a_checkpoint_of_this_training_nothing_is_loaded(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path) is None and checkpoint.load(tmp_path, "mine") is None
    assert checkpoint.load(tmp_path / "nowhere", "mine") is None
    checkpoint.save(tmp_path, 1, tensors(1), {"identity": "another"})
    assert checkpoint.load(tmp_path, "mine") is None


def test_a_checkpoint_older_than_that_of_another_training_is_loaded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint.save(tmp_path, 1, tensors(1), MINE)
    checkpoint.save(tmp_path, 2, tensors(2), {"identity": "another"})
    restored = checkpoint.load(tmp_path, "mine")
    assert restored is not None and restored[1]["step"] == 1
    assert "belongs to another training" in caplog.text


@pytest.mark.parametrize("harm", ["cut", "one bit", "empty", "not ours"])
def test_a_damaged_one_is_passed_over_for_the_one_before(
    tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint.save(tmp_path, 1, tensors(1), MINE)
    path = checkpoint.save(tmp_path, 2, tensors(2), MINE)
    body = bytearray(path.read_bytes())
    if harm == "one bit":
        body[-1] ^= 1  # the last byte of the last tensor, which safetensors does not check
    if harm == "not ours":
        path.unlink()
        checkpoint.save_file(tensors(2), path)
    else:
        path.write_bytes({"cut": body[:-8], "empty": b"", "one bit": body}[harm])
    with caplog.at_level(logging.WARNING):
        restored = checkpoint.load(tmp_path, "mine")
    assert restored is not None and restored[1]["step"] == 1
    assert "not a readable checkpoint" in caplog.text and path.name in caplog.text
    torch.testing.assert_close(restored[0]["weights"], tensors(1)["weights"])


@pytest.mark.parametrize("names", [("ema", "step", "weights"), ("weights", "step", "emb"), ("weights", "ema", "step")])
def test_tensors_under_other_names_are_noticed(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Check exchanged names: one bit of the header is enough to cause them, and safetensors has no checksum."""
    path = checkpoint.save(tmp_path, 1, tensors(1), MINE)
    with checkpoint.safe_open(path, framework="pt") as file:
        header = file.metadata()
    renamed = dict(zip(names, tensors(1).values(), strict=True))
    assert set(renamed) != set(tensors(1)) or list(renamed) != list(tensors(1))
    checkpoint.save_file(renamed, path, metadata=header)
    assert checkpoint.load(tmp_path, "mine") is None


def test_a_half_written_one_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, tensors(1), MINE)
    (tmp_path / "step-00000002.safetensors.partial").write_bytes(b"half")
    restored = checkpoint.load(tmp_path, "mine")
    assert restored is not None and restored[1]["step"] == 1


def test_a_training_goes_on_while_its_checkpoint_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released, write = threading.Event(), checkpoint.save_file

    def slow(*arguments: Any, **named: Any) -> None:
        assert released.wait(20)
        write(*arguments, **named)

    monkeypatch.setattr(checkpoint, "save_file", slow)
    weight = torch.zeros(3)
    with checkpoint.Writer(tmp_path) as writer:
        writer.save(1, {"weight": weight}, MINE)
        assert checkpoint.newest(tmp_path) is None
        weight += 1  # the next step
        released.set()
        writer.save(2, {"weight": weight}, MINE)
    steps = {path.name: load_file(path)["weight"].tolist() for path in tmp_path.glob("step-*")}
    assert steps == {"step-00000001.safetensors": [0.0] * 3, "step-00000002.safetensors": [1.0] * 3}


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_a_checkpoint_is_whole_when_the_training_ends(tmp_path: Path, error: Any) -> None:
    with suppress(KeyboardInterrupt), checkpoint.Writer(tmp_path) as writer:
        writer.save(1, {"weight": torch.zeros(2**20)}, MINE)
        if error:
            raise error
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001.safetensors"]


def test_a_checkpoint_that_could_not_be_written_ends_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError), checkpoint.Writer(tmp_path / "file") as writer:
        writer.save(1, {"weight": torch.zeros(2)}, MINE)
