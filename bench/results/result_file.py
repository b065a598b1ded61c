"""One file of results: the rows of one chain as columns, without machine-specific values, and a digest of them.

A file is JSON with one entry per line, so that a change to it shows in a diff. It omits folders, the store, W&B's
project and user, the kernel release, and the hashes of specs other than that of the real items.
"""

import hashlib
import json
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from bench.analysis.publishable import everywhere
from bench.analysis.setting import setting_of
from bench.errors import LedgerError
from bench.ledger import Chain, Row, digest_of
from bench.results import columns

FORM = 1
"""Version of the file format."""
HEAD = ("form", "study", "generations")
DIGITS = 7
"""Significant digits of the numbers. The checksums show whether samples and scores are equal to the last bit."""
HASHED = ("sample", "select", "score")
"""Stages whose results a file identifies by their checksum."""
LEFT_OUT = ("store_dir", "schema")
OF_THE_ENVIRONMENT = (
    *("python", "platform", "versions", "code_revision", "command", "device", "processor", "cpu_model"),
    *("cpu_capability", "num_threads", "precision", "compile", "cuda_graphs", "deterministic", "fallbacks"),
    *("data_content", "data_kind", "data_notes"),
)
"""The keys of a row's environment that a file keeps."""
OPTIONAL = tuple(f.name for f in fields(Row) if f.default_factory is dict)
"""Columns that a file omits if they are empty, so that a new column of `Row` changes no existing file."""
RULES_OF_A_CHAIN = ("mix", "vet", "select", "watermark", "remedy", "join")
"""Stages that only some conditions of a study have, or that they run with different code."""


def study_of(row: Row) -> dict[str, str]:
    """Return name, version and fingerprint of the study that a row's chain belongs to.

    A chain that follows a protocol has those of the protocol. Otherwise, the name is that of the sweep (with
    `_deviating` if the chain deviates from a protocol), the fingerprint covers everything that the chains share
    (configuration, data, length, precision, versions of the code), and the version is its first eight digits.
    """
    protocol = row.protocol
    if protocol.get("name") and not protocol.get("deviations"):
        return {
            "name": protocol["name"],
            "version": str(protocol["version"]),
            "fingerprint": protocol.get("fingerprint", ""),
        }
    setting = {key: value for key, value in json.loads(setting_of(row)).items() if key != "runtime.precision"}
    shared = {
        "setting": setting,  # without the requested precision, maybe `auto`; the one that was used is below
        "deviations": protocol.get("deviations", {}),
        "num_generations": row.config.get("num_generations"),
        "precision": row.environment.get("precision"),
        "code": {stage: parts for stage, parts in row.code.items() if stage not in RULES_OF_A_CHAIN},
    }
    fingerprint = hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()
    name = f"{row.sweep}_deviating" if protocol.get("deviations") else row.sweep
    return {"name": name, "version": fingerprint[:8], "fingerprint": fingerprint}


def body_of(chain: Chain) -> dict[str, Any]:
    """Return the content of a chain's file, with its digest."""
    rows = [_publishable(row) for row in chain.rows]
    folded = columns.fold([{k: v for k, v in row.items() if k not in ("generation", "scores")} for row in rows])
    body = {
        "form": FORM,
        "study": study_of(chain.rows[0]),
        "generations": [row.generation for row in chain.rows],
        **{key: value for key, value in folded.items() if value != {} or key not in OPTIONAL},
        "scores": columns.fold_scores([row["scores"] for row in rows]),
    }
    body = json.loads(json.dumps(body, allow_nan=False), parse_float=lambda text: float(f"{float(text):.{DIGITS}g}"))
    return {**body, "digest": digest_of(body)}


def _publishable(row: Row) -> dict[str, Any]:
    """Return a row as a dict without machine-specific values."""
    body: dict[str, Any] = everywhere({k: v for k, v in asdict(row).items() if k not in LEFT_OUT})
    environment = {key: body["environment"][key] for key in OF_THE_ENVIRONMENT if key in body["environment"]}
    if "platform" in environment:
        environment["platform"] = re.sub(r"^(Linux)-.*?-(?=[^-]+-with-)", r"\1-", environment["platform"])
    config = {k: v for k, v in body["config"].items() if k not in ("tracking", "output_dir", "store_dir")}
    artifacts = {"real": body["artifacts"]["real"]} if "real" in body["artifacts"] else {}
    checksums = {stage: body["checksums"][stage] for stage in HASHED if stage in body["checksums"]}
    return {**body, "environment": environment, "config": config, "artifacts": artifacts, "checksums": checksums}


def to_text(body: dict[str, Any]) -> str:
    """Return the file's text, with one line per key and per score."""
    lines = []
    for key, value in body.items():
        if key != "scores":
            lines.append(f" {json.dumps(key)}: {_line(value)}")
            continue
        groups = []
        for group in value:
            shared = _line({k: v for k, v in group.items() if k != "scores"})[:-1]
            scores = ",\n".join(f"   {_line(column, tight=True)}" for column in group["scores"])
            groups.append(f'  {shared}, "scores": [\n{scores}]}}')
        lines.append(' "scores": [\n' + ",\n".join(groups) + "\n ]")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _line(value: Any, tight: bool = False) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":") if tight else None)


def parse(text: str) -> dict[str, Any]:
    """Return the content of a file.

    Raises:
        LedgerError: the text is not a JSON object of this format, or was changed after it was written.
    """
    try:
        body = json.loads(text)
    except ValueError as error:
        raise LedgerError(f"not JSON: {error}") from error
    if not isinstance(body, dict) or body.get("form") != FORM:
        raise LedgerError(f"not a file of results of form {FORM}")
    missing = [key for key in (*HEAD, "scores", "digest") if key not in body]
    if missing:
        raise LedgerError(f"lacks {', '.join(missing)}")
    if body["digest"] != digest_of(body):
        raise LedgerError("was changed after it was written: its digest does not match")
    return body


def chain_of(body: dict[str, Any], path: Path) -> Chain:
    """Return the chain that a file's content describes, as analysis and report read it.

    Raises:
        LedgerError: a generation is not a valid row of this version's ledger.
    """
    generations = body["generations"]
    try:
        own = {key: value for key, value in body.items() if key not in (*HEAD, "scores", "digest")}
        every = columns.unfold(own, len(generations))
        scores = columns.unfold_scores(body["scores"], len(generations))
        rows = [
            Row(**{**row, "generation": generation, "scores": found, "store_dir": ""})
            for row, generation, found in zip(every, generations, scores, strict=True)
        ]
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise LedgerError(f"holds no rows of a ledger: {error}") from error
    return Chain(rows[0].chain, path.parent, rows)


def read(path: Path) -> Chain:
    """Return the chain of a file. Raise `LedgerError`, which names the file, if it cannot be read or is not valid."""
    try:
        body = parse(path.read_text(encoding="utf-8"))
        chain = chain_of(body, path)
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerError(f"{path} cannot be read: {error}") from error
    except LedgerError as error:
        raise LedgerError(f"{path}: {error}") from error
    if body["study"] != study_of(chain.rows[0]):
        raise LedgerError(f"{path}: states study {body['study']}, but its rows belong to {study_of(chain.rows[0])}")
    return chain
