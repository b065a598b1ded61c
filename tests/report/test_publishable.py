"""No file that a person publishes has a folder of the machine that it was made on."""

import dataclasses
from pathlib import Path

import fabricate
import pytest

from bench import ledger, report
from bench.analysis.publishable import everywhere, without_folders
from bench.report import style


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python -m bench data.path=/home/jane/x/f.npz seed=0", "python -m bench data.path=…/f.npz seed=0"),
        ("python -m bench 'data.path=/home/jane doe/x/f.npz' a=1", "python -m bench 'data.path=…/f.npz' a=1"),
        ("/home/jane/a b/store/sample/ab/p.npy is damaged", "store/sample/ab/p.npy is damaged"),
        ("~/data/x.npz, /a/b/c: gone", "…/x.npz, …/c: gone"),
        ("file:///home/jane/x.npz", "…/x.npz"),
        ("custom /home/u/mod.py:rule (a 2)", "custom …/mod.py:rule (a 2)"),
        ("FID / gen, a/b, 1/2, https://x.org/a/b, N/d = 2", "FID / gen, a/b, 1/2, https://x.org/a/b, N/d = 2"),
        ("store/train/ab and /data", "store/train/ab and /data"),
    ],
)
def test_absolute_paths_are_cut_and_nothing_else_is(text: str, expected: str) -> None:
    assert without_folders(text, [Path("/home/jane/a b/store")]) == expected


def test_a_value_that_is_a_path_may_have_spaces() -> None:
    assert everywhere({"a": ["/home/jane doe/x y.npz", 3, None], "b": "outputs/store"}) == {
        "a": ["…/x y.npz", 3, None],
        "b": "outputs/store",
    }


def test_a_report_names_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "FORMATS", ("svg",))
    home = tmp_path / "jane doe"
    data = {"name": "folder", "path": "/home/jane/photos of me", "root": "/home/jane/cache", "resolution": 16}
    sweep = fabricate.sweep(home, ratios=(0.0, 1.0), seeds=(0,), num_generations=1, data=data)
    next(home.glob("store/**/probes.npy")).write_bytes(b"damaged")  # a message that names its path
    for file in sweep.glob("*/ledger.jsonl"):
        rows = ledger.read(file)
        file.unlink()
        for row in rows:
            command = f"python -m bench data=folder 'data.path=/home/jane/photos of me' output_dir={tmp_path} seed=0"
            mixing = {
                "policy": "custom",
                "function": "/home/jane/rules.py:mine",
                "parameters": {"file": "/home/jane/w.npz"},
            }
            config = {
                **row.config,
                "output_dir": str(home / "outputs"),
                "mixing": mixing if "r1.00" in row.chain else row.config["mixing"],
            }
            about = {**row.environment, "command": command}
            ledger.append(file, dataclasses.replace(row, config=config, environment=about))
    made = report.write([sweep], tmp_path / "out")
    assert "damaged" in made.text or "probes.npy" in made.text
    for path in made.paths:
        body = path.read_text(encoding="utf-8")
        for secret in ("/home/jane", "jane doe", str(tmp_path), str(Path.home()) + "/"):
            found = body.find(secret)
            assert found < 0, (path.name, body[max(0, found - 60) : found + 60])
