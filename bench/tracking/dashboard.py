"""python -m bench.tracking.dashboard [RUNS…]: a W&B workspace and report for a sweep, built in code.

They show curves by ratio with bands over seeds, the last generation against the ratio, the images by run and
generation, training losses, and the most important columns. The keys of the scores are read from the given ledgers, or
else from the runs in the project. With an API key, both are saved to W&B and their addresses are printed; otherwise
their specs are written as JSON, with the reason on stderr. Needs the package `wandb-workspaces`.
"""

import argparse
import json
import logging
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench import ledger
from bench.analysis.measures import ARROWS, MAIN_METRICS, metric_name
from bench.config import MetricsConfig, TrackingConfig
from bench.errors import BenchError
from bench.ledger import Row
from bench.machine.pipes import exit_with
from bench.tracking import wandb_mode

log = logging.getLogger(__name__)

RATIO = "mixing.synthetic_ratio"
POLICY = "mixing.policy"


SHOWN = (*MAIN_METRICS, "density")
"""Scores that panels show, if they were logged."""
UP = ("coverage", "precision", "recall", "density")
"""The scores in `SHOWN` for which higher is better."""


def score_names(feature_space: str, k: int) -> dict[str, str]:
    """Return title -> the W&B key that a run with these settings logs; used if there are no runs to read yet."""
    names = {"FID ↓": "fid", **{f"{m} ↑": f"{m}_k{k}" for m in ("coverage", "precision", "recall", "density")}}
    return {title: f"{feature_space}/{name}" for title, name in names.items()}


def names_in_rows(rows: Iterable[Row]) -> dict[str, str]:
    """Return title -> W&B key of the scores of samples against held-out images that rows of ledgers have.

    A title names the feature space and the parameters if the rows have a score with several of these.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        for score in row.scores:
            if score["subject"] == "samples" and score["reference"] == "heldout" and score["metric"] in SHOWN:
                found.setdefault(score["metric"], {})[ledger.score_key(score)] = score
    names = {}
    for metric in sorted(found, key=SHOWN.index):
        for key, score in found[metric].items():
            title = f"{metric_name(metric)} {ARROWS[score['direction']]}".rstrip()
            names[title if len(found[metric]) == 1 else f"{title} ({key})"] = key
    return names


def names_in_keys(keys: Iterable[str]) -> dict[str, str]:
    """Return title -> W&B key of the scores among the keys that runs have logged, `space/metric` or `space/metric_k5`.

    Scores of other references and subjects have longer keys and are left out.
    """
    found: dict[str, list[str]] = {}
    for key in sorted(set(keys)):
        space, _, name = key.partition("/")
        metric = next((m for m in SHOWN if re.fullmatch(rf"{m}(_[a-z_]+[\d.]+)*", name)), None)
        if metric is not None and space:
            found.setdefault(metric, []).append(key)
    names = {}
    for metric in sorted(found, key=SHOWN.index):
        arrow = ARROWS["up" if metric in UP else "down"]
        for key in found[metric]:
            title = f"{metric_name(metric)} {arrow}"
            names[title if len(found[metric]) == 1 else f"{title} ({key})"] = key
    return names


def workspace(entity: str, project: str, scores: dict[str, str]) -> Any:
    """Build a `wandb_workspaces.workspaces.Workspace` without saving it.

    Args:
        entity: the W&B user or team.
        project: the W&B project.
        scores: title -> W&B key of the scores to show.
    """
    import wandb_workspaces.workspaces as ws

    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"Collapse by ratio ({', '.join(spaces(scores))})",
        sections=[
            ws.Section(name="Scores by generation", panels=_curves(scores), is_open=True, pinned=True),
            ws.Section(name="Last generation against ratio", panels=_final(scores), is_open=True),
            ws.Section(name="Samples", panels=[_samples()], is_open=True),
            ws.Section(name="Training sets and cost", panels=_costs(), is_open=False),
        ],
        settings=ws.WorkspaceSettings(x_axis="generation", max_runs=100, sort_panels_alphabetically=False),
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Config(POLICY), ws.Config(RATIO)],
            order=[ws.Ordering(ws.Config(RATIO), ascending=True)],
            pinned_columns=[
                "config:mixing.value.synthetic_ratio",
                "config:seed.value",
                *(f"summary:{key}" for key in scores.values()),
            ],
        ),
    )


def spaces(scores: dict[str, str]) -> list[str]:
    """Return the feature spaces of W&B keys."""
    return list(dict.fromkeys(key.partition("/")[0] for key in scores.values()))


def report(entity: str, project: str, scores: dict[str, str]) -> Any:
    """Build a `wandb_workspaces.reports.v2.Report` without saving it. The arguments are those of `workspace`."""
    import wandb_workspaces.reports.v2 as wr

    # A run set without a project uses the report's. Naming it here would ask the server for the project's id.
    runs = wr.Runset(entity="", project="", name="All chains", groupby=[f"config.{POLICY}", f"config.{RATIO}"])

    def grid(panels: list[Any]) -> Any:
        return wr.PanelGrid(runsets=[runs], panels=panels)

    return wr.Report(
        entity=entity,
        project=project,
        title="Diffusion collapse by synthetic ratio",
        description=f"Scores in {', '.join(spaces(scores))} ({', '.join(scores.values())}); lines are means over "
        "seeds, bands their range.",
        width="fluid",
        blocks=[
            wr.TableOfContents(),
            wr.H1("Scores by generation"),
            grid(_curves(scores)),
            wr.H1("Last generation against the synthetic ratio"),
            grid(_final(scores)),
            wr.H1("The same noise, generation by generation"),
            grid([_samples()]),
            wr.H1("Training sets and cost"),
            grid(_costs()),
        ],
    )


def _curves(scores: dict[str, str]) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    return [
        wr.LinePlot(
            title=title,
            x="generation",
            y=[key],
            groupby=wr.Config(RATIO),
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            title_x="generation",
            smoothing_type="none",
            max_runs_to_show=100,
        )
        for title, key in scores.items()
    ]


def _final(scores: dict[str, str]) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    return [
        wr.ScatterPlot(title=f"{title} at the last generation", x=wr.Config(RATIO), y=wr.SummaryMetric(key))
        for title, key in scores.items()
    ]


def _samples() -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.MediaBrowser(
        title="The same seeds by run and generation",
        media_keys=["probes"],
        mode="grid",
        grid_x_axis="step",
        grid_y_axis="run",
    )


def _costs() -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    keys = {
        "synthetic share of the training set": "composition/synthetic_ratio",
        "items seen in training": "train/images_seen",
        "seconds of a generation": "wall_seconds",
    }
    loss = wr.LinePlot(title="loss in training", x="training/generation", y=["training/loss"], groupby=wr.Config(RATIO))
    costs = [wr.LinePlot(title=title, x="generation", y=[key], groupby=wr.Config(RATIO)) for title, key in keys.items()]
    return [loss, *costs]


def specs(entity: str, project: str, scores: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return file name -> the spec of workspace and report as plain JSON. The arguments are those of `workspace`."""
    items = {
        "workspace.json": workspace(entity, project, scores),
        "report.json": report(entity, project, scores),
    }
    return {name: json.loads(item._to_model().model_dump_json(by_alias=True)) for name, item in items.items()}


def keys_of_project(entity: str, project: str) -> list[str]:
    """Ask the server for the keys that the first 50 runs of a project have logged. Raises what W&B raises."""
    import wandb

    runs = wandb.Api(timeout=15).runs(f"{entity}/{project}", per_page=50)
    return sorted({key for run in runs[:50] for key in run.summary.keys()})  # noqa: SIM118 (no plain dict)


def main(arguments: list[str] | None = None) -> int:
    """Run the command. Return 0 if both were saved or their specs were written, 2 if a package is missing or a ledger
    cannot be read."""
    defaults, metrics = TrackingConfig(), MetricsConfig()
    parser = argparse.ArgumentParser(
        prog="python -m bench.tracking.dashboard", description="Build a W&B workspace and report."
    )
    parser.add_argument("runs", nargs="*", type=Path, help="directories of chains or sweeps, whose keys are shown")
    parser.add_argument("--project", default=defaults.project, help=f"default: {defaults.project}")
    parser.add_argument("--entity", default=None, help="default: the entity of the API key")
    of_runs = "without runs to look at; default"
    space, k = metrics.feature_space, metrics.k
    parser.add_argument("--feature-space", default=space, help=f"feature space to show, {of_runs}: {space}")
    parser.add_argument("--k", type=int, default=k, help=f"k of precision, recall and coverage, {of_runs}: {k}")
    parser.add_argument("--out", type=Path, default=Path("outputs/dashboard"), help="where specs are written")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        import wandb_workspaces  # noqa: F401
    except ImportError:
        print("error: this needs the package wandb-workspaces: pip install wandb-workspaces", file=sys.stderr)
        return 2
    try:
        scores = (
            names_in_rows(row for chain in ledger.read_runs(given.runs) for row in chain.rows) if given.runs else {}
        )
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    entity = given.entity
    reason = "there is no W&B API key (use `wandb login` or WANDB_API_KEY)"
    if wandb_mode.is_online():
        try:
            entity = entity or wandb_mode.default_entity()
            scores = scores or names_in_keys(keys_of_project(entity, given.project))
            scores = scores or score_names(given.feature_space, given.k)
            for item in (workspace(entity, given.project, scores), report(entity, given.project, scores)):
                item.save()
                print(item.url)
            return 0
        except Exception as error:  # the network or the server failed: the specs can still be written
            reason = f"W&B refused them: {type(error).__name__}: {error}"
    given.out.mkdir(parents=True, exist_ok=True)
    scores = scores or score_names(given.feature_space, given.k)
    for name, body in specs(entity or "ENTITY", given.project, scores).items():
        path = given.out / name
        path.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(path)
    print(f"Only the specs were written: {reason}.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    exit_with(main)
