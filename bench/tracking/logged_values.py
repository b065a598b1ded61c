"""The values that W&B receives from a ledger row: scalars, tags, and the lineage of its results as artifacts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.ledger import Row, score_key

LINEAGE = {
    "real-pool": "real",
    "believed-pool": "join",
    "vetted-set": "vet",
    "checkpoint": "train",
    "remedied-model": "remedy",
    "samples": "sample",
    "selected-samples": "select",
    "scores": "score",
}
"""Type of artifact -> the stage in the row's `artifacts`; each is made from the one before. A chain that does not join
an earlier one, or has no vetting, remedy or selection, has no artifacts of that type."""


def scalars(row: Row) -> dict[str, float]:
    """Return the values that W&B plots: every score, the composition, and the numbers that the stages recorded."""
    values: dict[str, float] = {"generation": row.generation}
    values.update({score_key(entry): entry["value"] for entry in row.scores})
    for group, facts in (
        ("composition", row.composition),
        ("train", row.train),
        ("sample", row.sample),
        ("score", row.score),
        ("vetting", row.vetting),
        ("selection", row.selection),
        ("remedy", row.remedy),
    ):
        numbers = {k: v for k, v in facts.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        values.update({f"{group}/{name}": value for name, value in numbers.items()})
    values["wall_seconds"] = row.wall_seconds
    return values


def tags(config: dict[str, Any]) -> list[str]:
    """Return the tags of a run: policy, data, generator, feature space and protocol, if the configuration has them."""
    data, protocol = config.get("data", {}), config.get("protocol", {})
    words = [
        config.get("mixing", {}).get("policy"),
        data.get("kind") or data.get("name"),
        config.get("generator", {}).get("name"),
        config.get("metrics", {}).get("feature_space"),
        f"{protocol['name']} v{protocol.get('version')}" if protocol.get("name") else None,
    ]
    return [word[:64] for word in dict.fromkeys(words) if word]  # 64: W&B's own limit


@dataclass(frozen=True)
class ArtifactRecord:
    """An artifact that records where in the store a result is and what it was made from. The result itself stays on
    the disk."""

    name: str
    type: str
    metadata: dict[str, Any]


def lineage(row: Row) -> Iterator[ArtifactRecord]:
    """Yield the artifacts in order: real pool → what a newcomer uses as its real pool → vetted set → checkpoint →
    remedied model → samples → selected samples → scores. Equal results give equal artifacts, so chains that share a
    generation share its artifacts."""
    previous: str | None = None
    for kind, stage in LINEAGE.items():
        if stage not in row.artifacts:
            continue
        key = row.artifacts[stage]
        name = f"{kind}-{Path(key).name[:16]}"
        yield ArtifactRecord(name, kind, {"store_key": key, "store_dir": row.store_dir, "made_from": previous})
        previous = name
