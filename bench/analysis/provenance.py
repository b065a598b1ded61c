"""Provenance: the hardware, software and command that produced a result."""

import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench.analysis.setting import kind_in
from bench.flatten import flatten
from bench.ledger import Chain, Row

STAGES = ("train", "sample", "score")


def package_version() -> str:
    """Return the version of this benchmark; `unknown` in a source tree that was never installed."""
    try:
        return version("diffusion-collapse-bench")
    except PackageNotFoundError:
        return "unknown"


def hardware(rows: list[Row]) -> list[str]:
    """Return the devices that were used, each with processor and precision, sorted."""
    used = set()
    for about in (row.environment for row in rows):
        processor = about.get("cpu_model") or about.get("processor")
        used.add(", ".join(str(fact) for fact in (about.get("device"), processor, about.get("precision")) if fact))
    return sorted(used)


def revisions(rows: list[Row]) -> list[str]:
    """Return the first twelve digits of the git commits that were used, with `+dirty` if files differed; sorted."""
    used = (str(row.environment.get("code_revision") or "unknown").partition("+") for row in rows)
    return sorted({commit[:12] + plus + dirty for commit, plus, dirty in used})


def versions(rows: list[Row]) -> dict[str, list[str]]:
    """Return package -> the versions that were used, Python among them; sorted."""
    used: dict[str, set[str]] = {}
    for row in rows:
        for name, number in {"python": row.environment.get("python"), **row.environment.get("versions", {})}.items():
            if number:
                used.setdefault(name, set()).add(number)
    return {name: sorted(numbers) for name, numbers in sorted(used.items())}


def stage_code(rows: list[Row]) -> dict[str, list[str]]:
    """Return `stage.part` -> the versions of that code that were used, such as {"train.ddpm": ["6"]}; sorted."""
    used: dict[str, set[str]] = {}
    for row in rows:
        for key, number in flatten(row.code).items():
            used.setdefault(key, set()).add(str(number))
    return {key: sorted(numbers) for key, numbers in sorted(used.items())}


def chain_seconds(chain: Chain) -> dict[str, float]:
    """Return stage -> seconds of computing, over all generations."""
    return {stage: sum(getattr(row, stage).get("seconds", 0) for row in chain.rows) for stage in STAGES}


def chain_facts(chain: Chain) -> dict[str, Any]:
    """Return name -> value of the facts that a reader may want to know about one chain."""
    first, last = chain.rows[0], chain.rows[-1]
    about = last.environment
    packages = {k: v for k, v in about.get("versions", {}).items() if v}
    seen = sum(row.train.get("images_seen", 0) for row in chain.rows)
    facts = {
        "sweep": last.sweep,
        "policy": last.policy,
        "seed": last.seed,
        "generations": f"generations {first.generation} to {last.generation}",
        "configuration hash": last.config_hash,
        "code revision": about.get("code_revision") or "not known",
        "device": f"{about.get('device', 'not known')}, {about.get('precision', '')}".rstrip(", "),
        "platform": about.get("platform", "not known"),
        "versions": ", ".join(f"{name} {number}" for name, number in packages.items()) or "not known",
        "seconds": ", ".join(f"{name} {value:.0f}" for name, value in chain_seconds(chain).items()),
        **({f"{kind_in(last).items} seen in training": f"{seen:,}"} if seen else {}),
        "finished": last.finished_at,
        "ledger": str(chain.directory / "ledger.jsonl"),
        "store": last.store_dir,
    }
    if about.get("data_content"):
        facts["content of the data"] = about["data_content"]
    if last.protocol.get("deviations"):
        facts["deviations from the protocol"] = json.dumps(last.protocol["deviations"], ensure_ascii=False)
    return facts
