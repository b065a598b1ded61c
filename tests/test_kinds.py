"""Kinds of items: told by their arrays, stored, shown; and a chain of points from end to end."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import ledger
from bench.__main__ import main
from bench.errors import DataError
from bench.kinds import IMAGES, KINDS, POINTS, TOKENS, kind_of
from bench.pool import Pool, Records

ROOT = Path(__file__).parent.parent
EXAMPLES = {
    "images": np.zeros((4, 3, 8, 8), np.uint8),
    "points": np.random.default_rng(0).normal(size=(4, 3)),
    "tokens": np.arange(20, dtype=np.int32).reshape(4, 5),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_pool_of_every_kind_survives_the_disk(name, tmp_path):
    pool = Pool(EXAMPLES[name], Records.synthetic(0, np.arange(4)))
    assert pool.kind is KINDS[name]
    pool.save(tmp_path)
    again = Pool.load(tmp_path)
    assert again.kind is pool.kind and again.id == pool.id == Pool(np.array(again.items), pool.records).id
    np.testing.assert_array_equal(again.items, pool.items)


@pytest.mark.parametrize(
    "items",
    [
        np.zeros((4, 3, 8, 9), np.uint8),
        np.zeros((4, 1, 8, 8), np.uint8),
        np.zeros((4, 8, 8, 3), np.uint8),
        np.zeros((4, 3, 8, 8), np.float32),
        np.zeros((4, 3), np.float32),
        np.zeros((4, 3), np.int64),
        np.zeros(4),
    ],
    ids=lambda items: f"{items.dtype}{items.shape}",
)
def test_what_is_of_no_kind_is_refused_with_what_it_is(items):
    with pytest.raises(DataError) as error:
        kind_of(items)
    assert str(items.dtype) in str(error.value) and str(items.shape) in str(error.value)
    assert all(str(kind) in str(error.value) for kind in (IMAGES, POINTS, TOKENS))


POINTS_MODULE = """
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from safetensors.numpy import load_file, save_file
from bench import config
from bench.datasets.shared.source import Source
from bench.metrics.shared.inputs import Value

VERSION, KIND, KINDS, NEEDS = 1, "points", ("points",), ("items",)


@dataclass
class Config(config.DataConfig):
    pass


def open_source(given):
    values = np.random.default_rng(given.split_seed).normal(size=(120, 2)) + [3.0, -1.0]
    return Source([f"point-{i}" for i in range(120)], lambda rows: (values[rows], {}))


def fit(given, items, *, out, **rest):
    out.mkdir()
    values = items[np.arange(len(items))]
    save_file({"mean": values.mean(axis=0), "sd": values.std(axis=0)}, out / "model.safetensors")
    return {"num_images": len(items), "seconds": 0.0}


def sample(given, model, seeds, **rest):
    fitted = load_file(model / "model.safetensors")
    return np.stack([np.random.default_rng(s).normal(fitted["mean"], fitted["sd"]) for s in seeds])


def shift(inputs, given):
    yield Value("shift", np.linalg.norm(inputs.items[0].mean(axis=0) - inputs.items[1].mean(axis=0)), "down")
"""
RUN = [
    *("experiment=none", "data=custom", "data.module=of_points", "data.num_train=50", "data.num_heldout=50"),
    *("mixing=replace", "metrics.num_images=50", "metrics.scores=[of_points:shift]", "num_generations=3"),
    *("runtime.device=cpu", "runtime.num_threads=1"),
]


def bench(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_a_chain_of_points(tmp_path):
    (tmp_path / "of_points.py").write_text(
        POINTS_MODULE.replace("class Config(config.DataConfig):\n    pass", DATA_OR_GENERATOR)
    )
    done = bench(tmp_path, "bench", *RUN, "generator=custom", "generator.module=of_points")
    assert done.returncode == 0, done.stderr
    (chain,) = ledger.read_runs([tmp_path / "outputs"])
    assert [len(row.scores) for row in chain.rows] == [2, 2, 2]  # samples, and the floor
    for row in chain.rows:
        pool = Pool.load(Path(row.store_dir) / row.artifacts["samples"])
        assert pool.kind is POINTS and abs(pool.items.mean(axis=0) - [3.0, -1.0]).max() < 1
        assert (tmp_path / f"outputs/default/{chain.id}/probes/generation_{row.generation:04d}.png").exists()
    audited = bench(tmp_path, "bench.audit", "outputs")
    assert audited.returncode == 0, audited.stdout + audited.stderr


DATA_OR_GENERATOR = '''class Config:
    """Of the data set and of the generator alike."""
    name: str = ""
    resolution: int = 8
    num_train: int | None = None
    num_heldout: int = 2
    split_seed: int = 0'''


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["generator=ddpm_tiny"], "generator.name='ddpm': learns images, but the data are points"),
        (
            ["generator=custom", "generator.module=of_points", "metrics.scores=[frechet]"],
            "metrics.feature_space='efficientnet_lite0': describes images, but the data are points",
        ),
    ],
    ids=["generator", "feature space"],
)
def test_what_does_not_fit_the_kind_is_named_before_training(overrides, named, tmp_path, monkeypatch, capsys):
    (tmp_path / "of_points.py").write_text(
        POINTS_MODULE.replace("class Config(config.DataConfig):\n    pass", DATA_OR_GENERATOR)
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["bench", *RUN, *overrides])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and named in said, said
    assert not (tmp_path / "outputs/store/train").exists()
