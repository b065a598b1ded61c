"""python -m bench.tracking.dashboard: a W&B workspace and report for a sweep, built in code.

They show curves by ratio with bands over seeds, the last generation against the ratio, the images by run and
generation, and the most important columns. With an API key, both are saved to W&B and their addresses are printed;
otherwise their specs are written as JSON, with the reason on stderr. Needs the package `wandb-workspaces`.
"""

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

from bench.config import MetricsConfig, TrackingConfig
from bench.tracking import wandb_mode

log = logging.getLogger(__name__)

RATIO = "mixing.synthetic_ratio"
POLICY = "mixing.policy"


def score_names(feature_space: str, k: int) -> dict[str, str]:
    """Return title -> W&B key, with the keys that `bench.tracking.logged_values` logs."""
    names = {"FID ↓": "fid", **{f"{m} ↑": f"{m}_k{k}" for m in ("coverage", "precision", "recall", "density")}}
    return {title: f"{feature_space}/{name}" for title, name in names.items()}


def workspace(entity: str, project: str, feature_space: str, k: int) -> Any:
    """Build a `wandb_workspaces.workspaces.Workspace` without saving it.

    Args:
        entity: the W&B user or team.
        project: the W&B project.
        feature_space: the feature space of the scores to show.
        k: the number of neighbours of precision, recall, density and coverage.
    """
    import wandb_workspaces.workspaces as ws

    scores = score_names(feature_space, k)
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"Collapse by ratio ({feature_space})",
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
                *(f"summary:{key}" for key in list(scores.values())[:4]),
            ],
        ),
    )


def report(entity: str, project: str, feature_space: str, k: int) -> Any:
    """Build a `wandb_workspaces.reports.v2.Report` without saving it. Args: those of `workspace`."""
    import wandb_workspaces.reports.v2 as wr

    scores = score_names(feature_space, k)
    # A run set without a project uses the report's. Naming it here would ask the server for the project's id.
    runs = wr.Runset(entity="", project="", name="All chains", groupby=[f"config.{POLICY}", f"config.{RATIO}"])

    def grid(panels: list[Any]) -> Any:
        return wr.PanelGrid(runsets=[runs], panels=panels)

    return wr.Report(
        entity=entity,
        project=project,
        title="Diffusion collapse by synthetic ratio",
        description=f"Scores in {feature_space}, k = {k}; lines are means over seeds, bands their range.",
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
        for title, key in list(scores.items())[:4]
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
        "images seen in training": "train/images_seen",
        "seconds of a generation": "wall_seconds",
    }
    return [wr.LinePlot(title=title, x="generation", y=[key], groupby=wr.Config(RATIO)) for title, key in keys.items()]


def specs(entity: str, project: str, feature_space: str, k: int) -> dict[str, dict[str, Any]]:
    """Return file name -> the spec of workspace and report as plain JSON. Args: those of `workspace`."""
    items = {
        "workspace.json": workspace(entity, project, feature_space, k),
        "report.json": report(entity, project, feature_space, k),
    }
    return {name: json.loads(item._to_model().model_dump_json(by_alias=True)) for name, item in items.items()}


def main(arguments: list[str] | None = None) -> int:
    """Run the command. Returns 0 if both were saved or their specs were written, 2 if a package is missing."""
    defaults, metrics = TrackingConfig(), MetricsConfig()
    parser = argparse.ArgumentParser(
        prog="python -m bench.tracking.dashboard", description="Build a W&B workspace and report."
    )
    parser.add_argument("--project", default=defaults.project, help=f"default: {defaults.project}")
    parser.add_argument("--entity", default=None, help="default: the entity of the API key")
    parser.add_argument("--feature-space", default=metrics.feature_space, help=f"default: {metrics.feature_space}")
    parser.add_argument("--k", type=int, default=metrics.k, help=f"default: {metrics.k}")
    parser.add_argument("--out", type=Path, default=Path("outputs/dashboard"), help="where specs are written")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        import wandb_workspaces  # noqa: F401
    except ImportError:
        print("error: this needs the package wandb-workspaces: pip install wandb-workspaces", file=sys.stderr)
        return 2
    space = (given.feature_space, given.k)
    entity = given.entity
    reason = "there is no W&B API key (use `wandb login` or WANDB_API_KEY)"
    if wandb_mode.is_online():
        try:
            entity = entity or wandb_mode.default_entity()
            for item in (workspace(entity, given.project, *space), report(entity, given.project, *space)):
                item.save()
                print(item.url)
            return 0
        except Exception as error:  # of the network or the server: the specs can still be written
            reason = f"W&B refused them: {type(error).__name__}: {error}"
    given.out.mkdir(parents=True, exist_ok=True)
    for name, body in specs(entity or "ENTITY", given.project, *space).items():
        path = given.out / name
        path.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(path)
    print(f"Only the specs were written: {reason}.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
