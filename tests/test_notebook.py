"""`import bench` as a notebook uses it: compose, run, load, report, and models that diffusers opens."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from configs import DDPMConfig
from diffusers import DDPMPipeline
from PIL import Image
from shrunk import TINY

import bench
from bench import ledger, loop
from bench.config import Config
from bench.errors import BenchError, ConfigError, DataError, LedgerError
from bench.machine.console import Console
from bench.notebook import Report
from bench.protocols import compose_config
from bench.report import build, page


def overrides(out: Path) -> list[str]:
    return [*TINY, "name=nb", "num_generations=2", f"output_dir={out}", f"store_dir={out}/store"]


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def chain(out) -> ledger.Chain:
    return bench.run(bench.compose(overrides(out)), quiet=True)


def trained(out: Path) -> set[str]:
    return {path.name for path in (out / "store" / "train").iterdir() if path.is_dir()}


def test_importing_costs_nothing_and_tells_what_there_is():
    code = """
import sys
import bench
heavy = {"torch", "numpy", "hydra", "omegaconf", "pandas", "matplotlib", "diffusers"} & sys.modules.keys()
assert not heavy, heavy
assert {"Report", "__version__", "compose", "load", "run", "samples", "score"} <= set(dir(bench))
assert bench.__version__[0].isdigit()
assert not hasattr(bench, "scores")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_composing_is_that_of_the_command_line_and_leaves_nothing_in_hydra():
    code = """
import sys
from dataclasses import dataclass
from hydra import compose, initialize
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra

@dataclass
class Theirs:
    lr: float = 0.5

ConfigStore.instance().store(name="config_schema", node=Theirs)
ConfigStore.instance().store(name="theirs", group="data", node=Theirs)
import bench
config = bench.compose(["seed=3", "data=npz", "data.path=x.npz"])
assert (config.seed, config.data.name, config.num_generations) == (3, "npz", bench.compose().num_generations)
assert "torch" not in sys.modules
assert not GlobalHydra.instance().is_initialized()
names = {*ConfigStore.instance().repo, *ConfigStore.instance().repo["data"]}
assert "mixing" not in names and not [n for n in names if n.endswith("_schema.yaml") and n != "config_schema.yaml"]
with initialize(None, version_base="1.3"):
    bench.compose()
    assert compose("config_schema", ["lr=0.25"]).lr == 0.25
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["seeds=1"], "seeds"),
        (["seed=x"], "seed='x': must be a whole number"),
        (["metrics.k=0"], "metrics.k=0: must be at least 1"),
        (["data=flower"], "flower"),
        ("seed=1", "must be a list"),
    ],
)
def test_mistakes_are_raised_as_errors_of_the_project(given, message):
    with pytest.raises(BenchError, match=message):
        bench.compose(given)


def test_a_run_is_that_of_the_command_line(chain, out):
    assert [row.generation for row in chain.rows] == [0, 1]
    assert chain.directory.parent == out / "nb"
    assert chain.rows[0].environment["command"].startswith("python -m bench data=procedural ")
    models = trained(out)
    assert loop.run_chain(compose_config(overrides(out)), Console(quiet=True)) == chain.directory
    assert bench.run(bench.compose(overrides(out)), quiet=True) == chain
    assert trained(out) == models


def test_a_changed_configuration_is_checked_and_states_no_command_that_is_not_its_own(chain, out):
    config = bench.compose([*overrides(out), "num_generations=1"])
    config.metrics.k = 0
    with pytest.raises(ConfigError, match=r"metrics\.k=0"):
        bench.run(config, quiet=True)
    config.metrics.k, config.seed = 2, 1
    changed = bench.run(config, quiet=True)
    assert changed.id != chain.id
    assert changed.rows[0].environment["command"] is None
    assert "<pre>not known</pre>" in str(page._chain(changed)) and "python -m bench" in str(page._chain(chain))


def test_nothing_ends_the_process(out):
    config = bench.compose([*overrides(out), "output_dir=/proc/nowhere"])
    with pytest.raises(BenchError, match="output_dir='/proc/nowhere': cannot be written to"):
        bench.run(config, quiet=True)


def test_ledgers_are_one_tidy_table(chain, out):
    frame = bench.load(chain.directory, keys=["generator.training.num_steps"])
    assert len(frame) == sum(len(row.scores) for row in chain.rows)
    one = frame.query("metric == 'fid' and subject == 'samples' and reference == 'heldout' and generation == 1")
    (expected,) = (s["value"] for s in chain.rows[1].scores if (s["metric"], s["subject"]) == ("fid", "samples"))
    assert one.value.tolist() == [expected]
    assert set(frame["generator.training.num_steps"]) == {4}
    assert (set(frame.seed), set(frame.chain)) == ({0}, {chain.id})
    assert frame.num_synthetic.max() == 12 and frame.query("metric == 'precision'").k.eq(5).all()
    keys = ["chain", "generation", "metric", "subject", "reference", "attribute"]
    assert not frame.duplicated(keys).any()
    assert len(bench.load(str(out / "nb" / chain.id / "ledger.jsonl"))) == len(frame)


def test_samples_are_shown_as_they_were_recorded(chain, out):
    for generation in (0, 1):
        recorded = Image.open(chain.directory / "probes" / f"generation_{generation:04d}.png")
        np.testing.assert_array_equal(np.asarray(bench.samples(chain, generation)), np.asarray(recorded))
    assert bench.samples(chain.directory) == bench.samples(chain, 1) != bench.samples(chain, 0)
    with pytest.raises(ConfigError, match=r"generation=2: must be one of 0, 1"):
        bench.samples(chain, 2)
    gone = dataclasses.replace(chain, rows=[dataclasses.replace(chain.rows[0], artifacts={})])
    with pytest.raises(DataError, match="generation 0, are not in its store"):
        bench.samples(gone)


def test_what_cannot_be_loaded_is_said(chain, tmp_path, monkeypatch):
    with pytest.raises(LedgerError, match="no such file or directory"):
        bench.load(tmp_path / "absent")
    with pytest.raises(ConfigError, match=r"keys='data.num_trian'"):
        bench.load(chain.directory, keys=["data.num_trian"])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"pip install 'diffusion-collapse-bench\[notebook\]'"):
        bench.load(chain.directory)


def test_a_report_has_tables_verdicts_figures_and_a_page(chain, out, monkeypatch):
    report = bench.Report(chain.directory)
    assert isinstance(report, Report)
    assert report.page == out / "nb" / "report" / "report.html" and report.page.exists()
    assert "scores" in report.figures and all(path.suffix == ".png" for path in report.figures.values())
    assert all(path.exists() for path in report.paths)
    assert {"metric", "condition", "generation", "mean"} <= set(report.tables.columns)
    (verdict,) = report.verdicts
    assert verdict["condition"] == "0.50" and verdict["verdict"] == "too short"
    assert report._repr_markdown_() == report.text and "FID" in report.text
    asked = []
    monkeypatch.setattr(build, "write", lambda *given, **more: asked.append((*given, more)) or build.Written([], ""))
    bench.Report(str(out / "nb"), chain.directory, out=str(out / "elsewhere"), mixed=True)
    assert asked == [([out / "nb", chain.directory], out / "elsewhere", {"mixed": True})]
    with pytest.raises(ConfigError, match="at least one directory"):
        bench.Report()


def test_saved_models_open_with_diffusers(chain):
    row = chain.rows[-1]
    pipeline = DDPMPipeline.from_pretrained(Path(row.store_dir) / row.artifacts["model"])
    pipeline.set_progress_bar_config(disable=True)
    (image,) = pipeline(batch_size=1, num_inference_steps=2).images
    assert image.size == (16, 16) and image.mode == "RGB"
    assert pipeline.unet.config.block_out_channels == [8, 16]
    assert pipeline.scheduler.config.num_train_timesteps == DDPMConfig().noise.num_timesteps


@pytest.mark.slow
def test_type_checkers_see_the_types(tmp_path):
    (tmp_path / "user.py").write_text(
        "import bench\n"
        "config = bench.compose(['seed=1'])\n"
        "reveal_type(config)\n"
        "reveal_type(bench.run(config).rows)\n"
        "reveal_type(bench.score('a', 'b')['fid'])\n"
        "reveal_type(bench.__version__)\n"
        "reveal_type(bench.Report('x').page)\n"
        "bench.scores\n"
        "bench.score('a', 'b', kk=1)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "user.py"]
    where = {**os.environ, "MYPYPATH": str(Path(bench.__file__).parents[1])}  # an editable install is hidden from mypy
    said = subprocess.run(command, cwd=tmp_path, env=where, capture_output=True, text=True).stdout
    for line, words in (
        (3, '"bench.config.Config"'), (4, "list[bench.ledger.Row]"), (5, 'float"'), (6, 'str"'),
        (7, 'Path"'), (8, "has no attribute"), (9, "Unexpected keyword argument"),
    ):  # fmt: skip
        assert any(found.startswith(f"user.py:{line}:") and words in found for found in said.splitlines()), said


def test_the_types_are_shipped():
    assert (Path(bench.__file__).parent / "py.typed").exists()
    assert isinstance(bench.compose(), Config)
