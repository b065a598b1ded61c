"""The example of every page of docs/extending/, as a file outside bench/, run from the command line and audited."""

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from shrunk import TINY

from bench import audit, ledger
from bench.__main__ import main
from bench.pool import Pool

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "extending"
SEAMS = ("data", "generator", "mixing", "selection", "vetting", "features", "scores")
SHRUNK = ["num_generations=3", "metrics.scores=[frechet]", "metrics.k=2"]
"""What makes the commands of the pages small, after `TINY`."""


def blocks(seam: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (PAGES / f"{seam}.md").read_text(), re.DOTALL)


def write_example(seam: str, folder: Path) -> None:
    """Put the page's file where its first line says."""
    (source,) = blocks(seam, "python")
    name = re.match(r"# (\w+\.py)\n", source)
    assert name, "the example does not begin with the name of its file"
    (folder / name[1]).write_text(source)


def bench(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


DRAWN = (TINY[0], "data.num_calibration=0")
"""What a data set of one's own has not."""


def chain_of(folder: Path) -> ledger.Chain:
    (chain,) = ledger.read_runs([folder / "outputs"])
    return chain


def run_example(seam: str, folder: Path, *overrides: str) -> ledger.Chain:
    """Run the page's command, shrunk, with its own overrides last, and audit what it left."""
    write_example(seam, folder)
    (command,) = blocks(seam, "bash")
    own = shlex.split(command)[3:]
    given = {override.lstrip("+").split("=")[0] for override in own}
    small = [x for x in (*TINY, *SHRUNK) if x.split("=")[0] not in given and not (seam == "data" and x in DRAWN)]
    if seam == "generator":
        small = [x for x in small if not x.startswith("generator.")]
    done = bench(folder, "bench", *small, *own, *overrides)
    assert done.returncode == 0, done.stderr
    said = io.StringIO()
    with contextlib.redirect_stdout(said), mock.patch.object(sys, "path", [str(folder), *sys.path]):
        assert audit.main([str(folder / "outputs")]) == 0, said.getvalue()
    assert "0 mismatches" in said.getvalue()
    return chain_of(folder)


def test_every_seam_has_a_page():
    assert {page.stem for page in PAGES.glob("*.md")} == {*SEAMS, "index"}
    for seam in SEAMS:
        assert f"]({seam}.md)" in (PAGES / "index.md").read_text()


@pytest.mark.slow
def test_a_data_set_of_ones_own(tmp_path):
    chain = run_example("data", tmp_path, "metrics.scores=[frechet,tails]")
    row = chain.rows[0]
    assert row.dataset == "my_data" and row.config["data"]["parameters"] == {"num_items": 80}
    pool = Pool.load(Path(row.store_dir) / row.artifacts["real"] / "train")
    assert len(pool) == 40 and pool.items.max() == 200 and pool.label_names == {"colour": ["red", "green", "blue"]}
    channel = pool.items.max(axis=(2, 3)).argmax(axis=1)
    np.testing.assert_array_equal(channel, pool.records.labels["colour"])
    assert {score["parameters"].get("attribute") for score in row.scores} == {None, "colour"}


def test_a_generator_of_ones_own(tmp_path):
    chain = run_example("generator", tmp_path)
    assert [row.generator for row in chain.rows] == ["my_generator"] * 3
    row = chain.rows[0]
    real = Pool.load(Path(row.store_dir) / row.artifacts["real"] / "train").items.astype(float)
    samples = Pool.load(Path(row.store_dir) / row.artifacts["samples"]).items.astype(float)
    moved = np.abs(samples.mean(axis=0) - real.mean(axis=0)) / (real.std(axis=0) + 1)
    assert moved.mean() < 0.5  # of a standard deviation: 24 samples of each pixel
    spread = [Pool.load(Path(r.store_dir) / r.artifacts["samples"]).items.std(axis=0).mean() for r in chain.rows]
    assert spread[0] > spread[1] > spread[2]  # spread 0.9: variance is lost in every generation


@pytest.mark.slow
def test_the_risk_of_a_generator_of_ones_own_is_a_score(tmp_path):
    (tmp_path / "risky.py").write_text(
        "from bench.metrics.shared.inputs import Value\n"
        "NEEDS, VERSION = ('model', 'items'), 1\n"
        "def heldout(inputs, config):\n"
        "    assert inputs.features is None and inputs.training is None\n"
        "    yield Value('risk', inputs.model(inputs.items[1])['total'].mean(), 'down')\n"
    )
    chain = run_example("generator", tmp_path, "metrics.scores=[risky:heldout]")
    risks = [score["value"] for row in chain.rows for score in row.scores]
    assert len(risks) == 3 and all(np.isfinite(risks)) and risks[2] > risks[0]
    assert not (tmp_path / "outputs" / "store" / "features").exists()


@pytest.mark.slow
def test_the_risk_family_asks_a_generator_of_ones_own(tmp_path):
    chain = run_example("generator", tmp_path, "metrics.scores=[risk]")
    for row in chain.rows:
        values = {s["metric"]: s for s in row.scores if not s["parameters"]}
        assert values.keys() == {"risk", "risk_gap"} and {s["feature_space"] for s in row.scores} == {"model"}
        assert all(np.isfinite(s["value"]) for s in row.scores)


def test_the_features_of_a_generator_of_ones_own_are_a_space(tmp_path):
    chain = run_example("generator", tmp_path, "metrics=own_network", "metrics.num_images=16", "num_generations=2")
    for row in chain.rows:
        assert {s["feature_space"] for s in row.scores} == {"own_network"}
        assert all(np.isfinite(s["value"]) for s in row.scores)


@pytest.mark.slow
def test_a_policy_of_ones_own(tmp_path):
    chain = run_example("mixing", tmp_path, "num_generations=4")
    assert chain.rows[3].composition["per_generation"].keys() == {"0", "1", "2"}
    assert chain.rows[3].composition["num_real"] == 0


@pytest.mark.slow
def test_a_selection_of_ones_own(tmp_path):
    chain = run_example("selection", tmp_path, "selection.num_candidates=40")
    for row in chain.rows:
        assert row.selection["num_candidates"] == 40 and row.selection["num_kept"] == 24
        store = Path(row.store_dir)
        all_drawn = Pool.load(store / row.artifacts["sample"] / "pool").items.mean(axis=(1, 2, 3))
        kept = Pool.load(store / row.artifacts["samples"]).items.mean(axis=(1, 2, 3))
        assert set(np.sort(all_drawn)[-22:]) <= set(kept)
    trained = json.loads((Path(row.store_dir) / row.artifacts["train"] / "composition.json").read_text())
    pool = Pool.load(Path(row.store_dir) / chain.rows[1].artifacts["samples"])
    assert [part["id"] for part in trained["pools"]] == [pool.id]  # what was selected is what is trained on


@pytest.mark.slow
def test_a_vetting_rule_of_ones_own(tmp_path):
    chain = run_example("vetting", tmp_path)
    for row in chain.rows:
        dropped = row.vetting["num_real_dropped"] + row.vetting["num_synthetic_dropped"]
        total = row.composition["num_real"] + row.composition["num_synthetic"]
        assert row.vetting["num_kept"] == total - dropped
        store = Path(row.store_dir)
        kept = np.load(store / row.artifacts["vet"] / "kept.npy")
        assert kept.sum() == row.vetting["num_kept"]
    first, *later = chain.rows
    assert first.vetting["num_real_dropped"] > 0 and first.vetting["effective_ratio"] == 0
    assert all(row.vetting["effective_ratio"] > 0 for row in later)


@pytest.mark.slow
def test_a_feature_space_of_ones_own(tmp_path):
    chain = run_example("features", tmp_path)
    assert {score["feature_space"] for score in chain.rows[0].scores} == {"my_space:make_extractor"}


@pytest.mark.slow
def test_a_score_family_of_ones_own(tmp_path):
    chain = run_example("scores", tmp_path)
    row = chain.rows[0]
    scores = {(s["subject"], s["metric"]): s for s in row.scores}
    samples = Pool.load(Path(row.store_dir) / row.artifacts["samples"]).items[:16]
    share = scores["samples", "bright_share"]
    assert share["value"] == pytest.approx((samples >= 180).mean()) and share["parameters"] == {"threshold": 180}
    assert share["feature_space"] == "items" and ("real_train", "colour_distance") in scores
    assert scores["samples", "fid"]["feature_space"] == "efficientnet_lite0"


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["generator=custom", "generator.module=nowhere"], "generator.module='nowhere': cannot be imported"),
        (["generator=custom", "generator.module=json"], "generator.module='json': the module lacks Config"),
        (["data=custom", "data.module=json"], "data.module='json': the module lacks Config"),
        (["vetting=custom", "vetting.function=json:nothing"], "vetting.function='json:nothing': json has no function"),
        (["selection=custom", "selection.function=json:dumps", "selection.num_candidates=3"], "num_candidates=3"),
        (["metrics.scores=[json:dumps]"], "metrics.scores='json:dumps': the module of a score family must state NEEDS"),
        (["+metrics.options.frechet.k=3"], "metrics.options.frechet={'k': 3}: this score family has no options"),
        (["generator.name=mygen"], "generator.name='mygen': is 'ddpm' here"),
        (["mixing.policy=foo"], "mixing.policy='foo': is 'blend' here"),
        (["data.name=npz"], "data.name='npz': is 'procedural' here"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)  # fmt: skip
def test_what_cannot_run_is_named_before_anything_is_made(overrides, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bench", *overrides])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and named in said and "Traceback" not in said, said
    assert not list(tmp_path.iterdir())
