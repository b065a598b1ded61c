"""Workspace, report and sweep file for W&B, tested without a server."""

import dataclasses
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fabricate
import pytest
from omegaconf import OmegaConf

from bench import ledger
from bench.tracking import dashboard, logged_values, wandb_mode

SWEEP = Path(__file__).parents[2] / "conf" / "wandb_sweep.yaml"
has_workspaces = pytest.mark.skipif(
    importlib.util.find_spec("wandb_workspaces") is None, reason="wandb-workspaces is not installed (extra: dashboard)"
)


@pytest.fixture(autouse=True)
def nobodys_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE", "NETRC", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))


def leaves(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in leaves(value)]
    if isinstance(tree, list):
        return [leaf for value in tree for leaf in leaves(value)]
    return [tree]


@has_workspaces
def test_without_a_key_the_specs_are_written_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dashboard.main(["--out", str(tmp_path / "specs"), "--feature-space", "inception_v3", "--k", "5"]) == 0
    captured = capsys.readouterr()
    assert "no W&B API key" in captured.err
    paths = [Path(line) for line in captured.out.splitlines()]
    assert [path.name for path in paths] == ["workspace.json", "report.json"]
    for path in paths:
        spec = json.loads(path.read_text())
        assert "diffusion-collapse" in leaves(spec)
        words = leaves(spec)
        for key in ("inception_v3/fid", "inception_v3/recall_k5", "probes", "mixing.value.synthetic_ratio"):
            assert any(key in str(word) for word in words), (path.name, key)


@has_workspaces
def test_every_panel_shows_something_that_is_logged() -> None:
    logged = set(logged_values.scalars(fabricate.row(0.5, 1, 0))) | {"probes", "training/loss"}
    space = dashboard.workspace("e", "p", dashboard.names_in_rows([fabricate.row(0.5, 1, 0)]))
    keys = []
    for section in space.sections:
        for panel in section.panels:
            y = getattr(panel, "y", None)
            keys += y if isinstance(y, list) else [y.name] if y is not None else panel.media_keys
    assert len(keys) == 5 + 5 + 1 + 4
    assert set(keys) <= logged
    assert all(p.x == "generation" for p in space.sections[0].panels)
    assert {p.groupby_rangefunc for p in space.sections[0].panels} == {"minmax"}


@has_workspaces
def test_an_unwilling_server_leaves_the_specs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> str:
        raise ConnectionError("gone")

    monkeypatch.setattr(wandb_mode, "is_online", lambda: True)
    monkeypatch.setattr(wandb_mode, "default_entity", refuse)
    assert dashboard.main(["--out", str(tmp_path)]) == 0
    assert "W&B refused them: ConnectionError: gone" in capsys.readouterr().err
    assert (tmp_path / "workspace.json").exists()


def test_a_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert dashboard.main([]) == 2
    assert "pip install wandb-workspaces" in capsys.readouterr().err


def sweep_command(**values: Any) -> list[str]:
    """Return the command line that W&B's own code of an agent makes from the sweep file."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    sweep = OmegaConf.to_container(OmegaConf.load(SWEEP), resolve=False)
    arguments = create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    command: list[str] = []
    for word in create_sweep_command(sweep["command"]):
        expanded = {"${args_no_hyphens}": arguments["args_no_hyphens"], "${env}": []}.get(word, [word])
        command += expanded
    return command


def test_the_sweep_file_has_the_form_that_wandb_wants() -> None:
    sweep = OmegaConf.to_container(OmegaConf.load(SWEEP), resolve=False)
    assert sweep["method"] == "grid"
    assert set(sweep["parameters"]) == {"mixing.synthetic_ratio", "seed"}
    assert all(len(set(p["values"])) == len(p["values"]) > 1 for p in sweep["parameters"].values())
    assert sweep["metric"]["name"] in logged_values.scalars(fabricate.row(0.5, 1, 0))


@pytest.mark.slow
def test_the_sweeps_command_line_runs(tmp_path: Path) -> None:
    """Run the sweep file's command as an agent would, shrunk to seconds, and read the offline run back."""
    command = sweep_command(**{"mixing.synthetic_ratio": 0.25, "seed": 1})
    assert command[-2:] == ["mixing.synthetic_ratio=0.25", "seed=1"]
    assert command[0] in ("python", "/usr/bin/env")
    module = command[command.index("-m") + 1 :]
    small = [
        "num_generations=1",
        "data.num_train=40",
        "data.num_heldout=32",
        "data.num_calibration=0",
        "metrics.num_images=32",
        "num_probes=2",
        "generator.unet.channels=[8,16]",
        "generator.unet.attention=[false,false]",
        "generator.unet.layers_per_block=1",
        "generator.unet.attention_head_dim=8",
        "generator.training.num_steps=2",
        "generator.training.batch_size=4",
        "generator.sampling.num_steps=2",
        "runtime.num_threads=1",
        f"output_dir={tmp_path}",
    ]
    done = subprocess.run(
        [sys.executable, "-m", *module, *small],
        env={**os.environ, "WANDB_MODE": "offline"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list(tmp_path.glob("quick/blend-r0.25-seed1-*/ledger.jsonl"))) == 1
    assert len(list(tmp_path.glob("quick/blend-r0.25-seed1-*/wandb/offline-run-*"))) == 1


@has_workspaces
def test_panels_show_means_with_their_range_by_ratio_and_the_last_generation_of_the_main_scores() -> None:
    space = dashboard.workspace("e", "p", dashboard.score_names("inception_v3", 5))
    curves, final, samples, costs = (section.panels for section in space.sections)
    titled = {panel.title: panel.y for panel in curves}
    assert titled == {
        "FID ↓": ["inception_v3/fid"],
        "precision ↑": ["inception_v3/precision_k5"],
        "recall ↑": ["inception_v3/recall_k5"],
        "density ↑": ["inception_v3/density_k5"],
        "coverage ↑": ["inception_v3/coverage_k5"],
    }
    assert {(p.groupby_aggfunc, p.groupby_rangefunc, p.smoothing_type) for p in curves} == {("mean", "minmax", "none")}
    assert {p.groupby.name for p in [*curves, *costs]} == {dashboard.RATIO}
    assert {p.x.name for p in final} == {dashboard.RATIO}
    assert [(p.title.split(" ")[0], p.y.name) for p in final] == [
        ("FID", "inception_v3/fid"),
        ("coverage", "inception_v3/coverage_k5"),
        ("precision", "inception_v3/precision_k5"),
        ("recall", "inception_v3/recall_k5"),
        ("density", "inception_v3/density_k5"),
    ]
    assert (samples[0].media_keys, samples[0].grid_x_axis, samples[0].grid_y_axis) == (["probes"], "step", "run")
    assert {p.title: p.y for p in costs} == {
        "loss in training": ["training/loss"],
        "synthetic share of the training set": ["composition/synthetic_ratio"],
        "items seen in training": ["train/images_seen"],
        "seconds of a generation": ["wall_seconds"],
    }
    assert (space.entity, space.project) == ("e", "p")
    group = [item.name for item in space.runset_settings.groupby]
    assert group == [dashboard.POLICY, dashboard.RATIO]
    assert [(o.item.name, o.ascending) for o in space.runset_settings.order] == [(dashboard.RATIO, True)]


@has_workspaces
def test_the_report_has_the_panels_of_the_workspace_below_their_headings() -> None:
    import wandb_workspaces.reports.v2 as wr

    made = dashboard.report("e", "p", dashboard.score_names("inception_v3", 5))
    space = dashboard.workspace("e", "p", dashboard.score_names("inception_v3", 5))
    grids = [block for block in made.blocks if isinstance(block, wr.PanelGrid)]
    assert [[p.title for p in grid.panels] for grid in grids] == [
        [p.title for p in section.panels] for section in space.sections
    ]
    assert [runs.groupby for grid in grids for runs in grid.runsets] == [
        ["config.mixing.policy", "config.mixing.synthetic_ratio"]
    ] * 4
    assert (made.entity, made.project) == ("e", "p") and "recall_k5" in made.description


@has_workspaces
@pytest.mark.parametrize(("given", "expected"), [([], "own"), (["--entity", "team"], "team")])
def test_with_a_key_both_are_saved_and_nothing_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    expected: str,
) -> None:
    saved = []

    class Item:
        def __init__(self, name: str, *about: Any) -> None:
            self.name, self.about, self.url = name, about, f"https://example.org/{name}"

        def save(self) -> None:
            saved.append((self.name, *self.about))

    monkeypatch.setattr(wandb_mode, "is_online", lambda: True)
    monkeypatch.setattr(wandb_mode, "default_entity", lambda: "own")
    monkeypatch.setattr(dashboard, "keys_of_project", lambda entity, project: [])
    for name in ("workspace", "report"):
        monkeypatch.setattr(dashboard, name, lambda *about, name=name: Item(name, *about))
    out = ["--out", str(tmp_path / "specs"), "--project", "p", "--feature-space", "s", "--k", "7"]
    assert dashboard.main([*out, *given]) == 0
    names = dashboard.score_names("s", 7)  # the project has no runs yet
    assert saved == [(name, expected, "p", names) for name in ("workspace", "report")]
    assert capsys.readouterr().out.split() == ["https://example.org/workspace", "https://example.org/report"]
    assert not (tmp_path / "specs").exists()


ROWS_OF_5 = {"fid": {}, "kid": {"num_subsets": 50, "subset_size": 250}, "recall": {"k": 5}, "vendi": {}}


def test_panels_show_the_keys_of_the_ledgers_that_are_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The defaults are another feature space and k: no panel asks for what the runs do not have."""
    row = fabricate.row(0.5, 1, 0, space="dinov2")
    down = {m: {"direction": "down"} for m in ("fid", "kid")}
    scores = [
        {**fabricate.score(m, 0.5, space="dinov2"), "parameters": p, **down.get(m, {})} for m, p in ROWS_OF_5.items()
    ]
    scores.append({**fabricate.score("fid", 9.0, "real_train", space="dinov2")})
    row = dataclasses.replace(row, scores=scores)
    logged = set(logged_values.scalars(row))
    names = dashboard.names_in_rows([row, row])
    assert list(names) == ["FID ↓", "KID ↓", "recall ↑"] and set(names.values()) <= logged
    assert names["recall ↑"] == "dinov2/recall_k5"
    assert dashboard.names_in_keys([*logged, "wall_seconds", "train/final_loss", "floor/dinov2/fid"]) == names
    if importlib.util.find_spec("wandb_workspaces") is None:
        return
    ledger.append(tmp_path / "s" / row.chain / ledger.FILENAME, row)
    assert dashboard.main([str(tmp_path / "s"), "--out", str(tmp_path / "specs")]) == 0
    for path in map(Path, capsys.readouterr().out.splitlines()):
        assert "dinov2/recall_k5" in path.read_text() and "efficientnet" not in path.read_text()
    assert dashboard.main([str(tmp_path / "nowhere")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_scores_of_two_spaces_are_named_by_their_keys() -> None:
    rows = [fabricate.row(0.5, 1, 0, space=space) for space in ("a", "b")]
    names = dashboard.names_in_rows(rows)
    assert names["FID ↓ (a/fid)"] == "a/fid" and names["recall ↑ (b/recall_k3)"] == "b/recall_k3"
    assert len(names) == 10
