import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from shrunk import composed

from bench.errors import DataError
from bench.features import inception_v3 as inception
from bench.loop import run_chain
from bench.machine.console import Console
from bench.prefetch import main


def test_prints_path_and_checksum(capsys):
    assert main(["efficientnet_lite0"]) == 0
    name, digest, path = capsys.readouterr().out.rstrip("\n").split("  ", 2)  # a path may have spaces
    assert name == "efficientnet_lite0" and digest.startswith("57934424") and Path(path).is_file()


def test_says_what_to_do_without_network(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(inception, "URL", "http://127.0.0.1:9/weights-6726825d.pth")
    assert main(["inception_v3"]) == 1
    captured = capsys.readouterr()
    assert "metrics.weights" in captured.err and captured.out == ""


def test_a_local_file_is_checked(capsys, tmp_path):
    (tmp_path / "w.pth").write_bytes(b"abc")
    assert main(["inception_v3", "--weights", str(tmp_path / "w.pth")]) == 0
    assert "ba7816bf" in capsys.readouterr().out
    assert main(["inception_v3", "--weights", str(tmp_path / "absent.pth")]) == 1


def test_mistakes_are_answered_without_torch():
    started = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bench.prefetch", "vgg"], capture_output=True, text=True
    )
    assert result.returncode == 2 and "inception_v3" in result.stderr
    assert "torch" not in {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert time.monotonic() - started < 60


def test_one_file_for_two_spaces_is_refused():
    with pytest.raises(SystemExit):
        main(["inception_v3", "dinov2", "--weights", "x"])


def test_the_overrides_of_a_run_name_its_weights_and_its_data(capsys):
    assert main(["experiment=quick", "data.num_train=16", "data.num_heldout=16", "metrics.num_images=16"]) == 0
    weights, data = capsys.readouterr().out.splitlines()
    assert weights.startswith("efficientnet_lite0  57934424") and data == "data=procedural  drawn  32 items"


def test_all_that_is_missing_is_told_at_once(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(inception, "URL", "http://127.0.0.1:9/weights-6726825d.pth")
    run = ["experiment=flowers16", f"data.path={tmp_path}/nowhere.npz", "metrics=inception_v3"]
    assert main(run) == 1
    said = capsys.readouterr().err
    assert "127.0.0.1:9" in said and "nowhere.npz" in said
    config = composed(*run, f"output_dir={tmp_path}")
    with pytest.raises(DataError) as error:
        run_chain(config, Console(quiet=True))
    assert "127.0.0.1:9" in str(error.value) and "nowhere.npz" in str(error.value)
    assert not (tmp_path / "flowers16").exists()


def test_what_is_neither_a_space_nor_an_override_is_refused():
    for words in (["vgg"], ["inception_v3", "experiment=quick"]):
        with pytest.raises(SystemExit):
            main(words)
