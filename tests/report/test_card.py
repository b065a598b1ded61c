"""Results cards: complete, repeatable, and compared only where that means something."""

import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import fabricate
import numpy as np
import pytest
from scipy import stats

from bench import ledger, registry
from bench.analysis import results_card, setting
from bench.analysis.results_card import differences
from bench.analysis.study import Study, studies
from bench.config import DataConfig, MetricsConfig
from bench.errors import LedgerError
from bench.report import card, citing, compare

PROTOCOL = {"name": "tiny", "version": 1}


def study_of(tmp_path: Path, **kwargs: Any) -> Study:
    (study,) = studies(ledger.read_runs([fabricate.sweep(tmp_path, pictures=False, **kwargs)]))
    return study


def saved(tmp_path: Path, name: str, **kwargs: Any) -> Path:
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(results_card.card(study_of(tmp_path / name, **kwargs))))
    return path


def test_a_card_has_everything_needed_to_cite_and_repeat(tmp_path: Path) -> None:
    study = study_of(tmp_path, seeds=(0, 2), protocol=PROTOCOL)
    body = json.loads(json.dumps(results_card.card(study), allow_nan=False))
    assert body["protocol"]["text"] == "tiny version 1"
    assert body["seeds"] == [0, 2]
    assert body["hardware"] == ["cpu, made-up, fp32"]
    assert body["versions"] == {"numpy": ["2.0.0"], "python": ["3.11.2"], "torch": ["2.9.0"]}
    assert body["must_be_equal"]["metrics.k"] == 3
    chains = [chain for c in body["conditions"] for chain in c["chains"]]
    assert len(chains) == 6
    assert chains[-1]["command"] == "python -m bench mixing.synthetic_ratio=1.0 seed=2"
    assert all(len(chain["config_hash"]) == 16 for chain in chains)
    assert len(body["scores"]) == 7 * 3 * 4
    fid = body["scores"][0]
    assert fid["values"] == {str(s): fabricate.row(0.0, 0, s).scores[0]["value"] for s in (0, 2)}
    assert {b["subject"] for b in body["baselines"]} == {"real_train", "shuffled"}
    text = card.to_markdown(study, body)
    for words in ("tiny version 1", "floor: real images: 21", "python -m bench", "inconclusive", "± is the 95 %"):
        assert words in text


def test_what_is_left_out_of_a_comparison_is_a_key_of_the_configuration() -> None:
    groups = {"data": DataConfig.__subclasses__(), "metrics": [MetricsConfig]}
    known = {f"{group}.{f.name}" for group, kinds in groups.items() for kind in kinds for f in dataclasses.fields(kind)}
    assert set(setting.LOCAL_TO_A_MACHINE) <= known


def test_equal_conditions_of_another_run_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = saved(tmp_path, "one", seeds=(0, 1), protocol=PROTOCOL)
    two = saved(tmp_path, "two", seeds=(2, 3), protocol=PROTOCOL, ratios=(0.0, 1.0))
    assert compare.main([str(one), str(two)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 + 7 * 2 * 4  # legend and head, scores × common conditions × generations
    expected = sum(fabricate.row(1.0, 3, s).scores[0]["value"] for s in (2, 3)) / 2
    line = next(line for line in lines if line.startswith("| FID ↓ (efficientnet_lite0, heldout, N = 1024) | 1.00 | 3"))
    assert f"{expected:.4g} ± " in line.split("|")[5]
    assert line.count("(n = 2)") == 2


def test_cards_from_two_machines_are_compared_by_the_content_of_their_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [{"name": "npz", "path": f"{place}/x.npz", "resolution": 16} for place in ("p", "/elsewhere/p")]
    one = saved(tmp_path, "one", seeds=(0,), protocol=PROTOCOL, data=data[0])
    two = saved(tmp_path, "two", seeds=(1,), protocol=PROTOCOL, data=data[1])
    assert compare.main([str(one), str(two)]) == 0
    other = saved(tmp_path, "other", seeds=(1,), protocol=PROTOCOL, data=data[0], real="f" * 32)
    assert compare.main([str(one), str(other)]) == 2
    assert f"data.content: {fabricate.REAL} / {'f' * 32}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"protocol": {"name": "tiny", "version": 2}}, "protocol: tiny version 1 / tiny version 2"),
        ({"protocol": {**PROTOCOL, "deviations": {"seed": [0, 1]}}}, r"tiny version 1 \(deviating\)"),
        ({"data": {"name": "procedural", "kind": "flowers", "resolution": 32}}, "data.resolution: 16 / 32"),
        ({"space": "inception_v3"}, "metrics.feature_space"),
    ],
)
def test_what_may_not_be_compared_is_refused_with_reasons(
    tmp_path: Path, changes: dict, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one = saved(tmp_path, "one", seeds=(0,), protocol=PROTOCOL)
    two = saved(tmp_path, "two", **{"seeds": (0,), "protocol": PROTOCOL, **changes})
    assert compare.main([str(one), str(two)]) == 2
    assert re.search(reason, capsys.readouterr().err)


def test_other_code_or_precision_is_named_and_refused_where_numbers_depend_on_it() -> None:
    def body(named: bool, **code: str) -> dict[str, Any]:
        protocol = {**PROTOCOL, "text": "tiny version 1"} if named else {"name": None, "text": "no protocol"}
        precision = [code.pop("precision", "fp32")]
        versions = {key.replace("_", "."): [value] for key, value in code.items()}
        score = {"metric": "fid", "feature_space": "a", "reference": "heldout", "num_subject": 9, "num_reference": 9}
        scores = [{**score, "parameters": {}}]
        return {
            "protocol": protocol,
            "must_be_equal": {},
            "scores": scores,
            "precision": precision,
            "code_versions": versions,
        }

    cases = [
        (True, {"train_ddpm": "6"}, {"train_ddpm": "7"}, ["version of the code train.ddpm: 6 / 7"]),
        (False, {"train_ddpm": "6"}, {"train_ddpm": "7"}, []),
        (False, {"score_frechet": "5"}, {"score_frechet": "6"}, ["version of the code score.frechet: 5 / 6"]),
        (True, {"mix_blend": "1"}, {"mix_replace": "2"}, []),
        (True, {"precision": "bf16"}, {}, ["precision: bf16 / fp32"]),
        (False, {"precision": "bf16"}, {}, []),
    ]
    for named, one, two, reasons in cases:
        assert differences(body(named, **one), body(named, **two)) == reasons
    older = {k: v for k, v in body(True).items() if k not in ("precision", "code_versions")}
    assert differences(older, body(True, train_ddpm="6")) == []


def test_two_deviating_results_are_not_known_to_agree(tmp_path: Path) -> None:
    body = results_card.card(study_of(tmp_path, protocol={**PROTOCOL, "deviations": {"seed": [0, 1]}}))
    assert differences(body, body)


def test_what_is_no_card_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for text, message in (
        ("{", "not a readable"),
        ("[]", "not a results card"),
        ('{"card": 99}', "not a results card"),
    ):
        path.write_text(text)
        with pytest.raises(LedgerError, match=message):
            results_card.load(path)
    with pytest.raises(LedgerError, match="not a readable"):
        results_card.load(tmp_path / "nowhere.json")
    with pytest.raises(SystemExit):
        compare.main([str(path)])


def test_citations_name_what_was_used_and_nothing_else(tmp_path: Path) -> None:
    data = {"name": "cub200", "resolution": 16}
    text = citing.bibtex([study_of(tmp_path, seeds=(0,), data=data)])
    keys = re.findall(r"^@\w+\{([^,]+),", text, re.MULTILINE)
    used = {
        "wah2011cub",
        "lipton2018detecting",
        "heusel2017fid",
        "kynkaanniemi2019precision",
        "naeem2020reliable",
        "tan2019efficientnet",
    }
    assert set(keys) == used | {"diffusion_collapse_bench", "ho2020ddpm"}
    assert len(keys) == len(set(keys))
    assert text.count("{") == text.count("}")


@pytest.mark.skipif(shutil.which("bibtex") is None, reason="bibtex is not installed")
def test_every_entry_is_read_by_bibtex(tmp_path: Path) -> None:
    packages = [room.package for room in registry.ROOMS.values()] + [registry.FEATURES]
    components = [registry.citation(package, name, {}) for package in packages for name in registry.names(package)]
    entries = {entry for entry in (*components, *registry.metric_citations().values()) if entry}
    (tmp_path / "c.bib").write_text("\n".join(entries))
    (tmp_path / "c.aux").write_text("\\citation{*}\n\\bibstyle{plain}\n\\bibdata{c}\n")
    done = subprocess.run(["bibtex", "c"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "Warning" not in done.stdout, done.stdout
    assert (tmp_path / "c.bbl").read_text().count("\\bibitem") == len(entries)


def test_a_comparison_has_each_cards_number_in_its_own_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"a": (0,), "b": (1, 2), "c": (3, 4, 5)}
    ratios = {"a": (0.0, 1.0), "b": (1.0,), "c": (0.5, 1.0)}
    paths = [
        saved(tmp_path, name, seeds=seeds, ratios=ratios[name], num_generations=2, protocol=PROTOCOL)
        for name, seeds in given.items()
    ]
    assert compare.main([str(path) for path in paths]) == 0
    legend, _, head, _, *lines = capsys.readouterr().out.splitlines()
    assert legend.startswith("± is the 95 % interval of the mean")
    assert [word.strip() for word in head.split("|")[4:-1]] == [path.name for path in paths]
    assert {line.split("|")[2].strip() for line in lines} == {"1.00"}  # what two cards have at least
    assert len(lines) == 7 * 2
    main = {"FID ↓": "fid", "precision ↑": "precision", "recall ↑": "recall"}
    seen = 0
    for line in lines:
        title, _, generation, *cells = [word.strip() for word in line.split("|")[1:-1]]
        if title.split(" (")[0] not in main or "heldout" not in title:
            continue
        metric, seen = main[title.split(" (")[0]], seen + 1
        for cell, seeds in zip(cells, given.values(), strict=True):
            scores = [fabricate.row(1.0, int(generation), seed).scores for seed in seeds]
            values = [next(s["value"] for s in row_scores if s["metric"] == metric) for row_scores in scores]
            assert cell.startswith(f"{np.mean(values):.4g}") and cell.endswith(f"(n = {len(seeds)})")
            if len(seeds) > 1:
                half = stats.t.ppf(0.975, len(seeds) - 1) * stats.sem(values)
                assert f" ± {half:.2g} " in cell
            else:
                assert "±" not in cell
    assert seen == 3 * 2


def test_cards_of_different_conditions_are_shown_side_by_side(tmp_path: Path) -> None:
    cards = {
        name: json.loads(saved(tmp_path, name, seeds=(0,), protocol=PROTOCOL, ratios=(ratio,)).read_text())
        for name, ratio in (("half", 0.5), ("whole", 1.0))
    }
    lines = [[word.strip() for word in line.split("|")] for line in card.comparison(cards).splitlines()]
    fid = [line for line in lines if line[1:2] == ["FID ↓ (efficientnet_lite0, heldout, N = 1024)"]]
    assert [(line[2], line[3]) for line in fid] == [(ratio, str(g)) for g in range(4) for ratio in ("0.50", "1.00")]
    assert all((line[4] == "–") != (line[5] == "–") for line in fid)
    assert [line[5] == "–" for line in fid] == [line[2] == "0.50" for line in fid]


def test_a_comparison_names_cards_without_the_folders_they_share() -> None:
    a, b = Path("/home/jane/outputs/x/report/card.json"), Path("/home/jane/outputs/y/report/card.json")
    assert compare.short_names([a, b]) == ["x/report/card.json", "y/report/card.json"]
    assert compare.short_names([a.parent / "a.json", a.parent / "b.json"]) == ["a.json", "b.json"]


def test_cards_without_a_common_score_or_with_other_data_differ() -> None:
    def body(seed: int = 0, **kwargs: Any) -> dict[str, Any]:
        row = fabricate.row(0.5, 0, seed, protocol=PROTOCOL)
        changes = {name: value for name, value in kwargs.items() if name != "scores"}
        scores = [{**s, **kwargs.get("scores", {})} for s in row.scores]
        row = dataclasses.replace(row, scores=scores, **changes)
        return results_card.card(studies([ledger.Chain(row.chain, Path(), [row])])[0])

    assert differences(body(0), body(1)) == []
    for other in (
        {"num_subject": 512},
        {"num_reference": 512},
        {"feature_space": "x"},
        {"reference": "y"},
        {"parameters": {"k": 9}},
    ):
        assert differences(body(), body(scores=other)) == ["no score is in both"]
    config = fabricate.row(0.5, 0, 0).config
    generator = {**config, "generator": {"name": "other"}}
    assert differences(body(), body(config=generator)) == []  # that is what is compared
    more = {**config, "data": {**config["data"], "num_train": 7}}
    for pair in ((body(), body(config=more)), (body(config=more), body())):
        (reason,) = differences(*pair)
        assert reason.startswith("data.num_train: ")
    moved = {**config, "data": {**config["data"], "root": "/x"}, "metrics": {**config["metrics"], "weights": "/w"}}
    assert differences(body(), body(config=moved)) == []


def test_each_part_that_was_used_brings_its_own_reference() -> None:
    """By what the entries say, not by their keys: author and title of what every part is known for."""
    known = {
        "data": {"flowers102": "Nilsback", "cub200": "Wah, Catherine"},
        "policy": {
            "replace": "Alemohammad",
            "fresh": "Alemohammad",
            "augment": "Bertrand",
            "accumulate": "Gerstgrasser",
            "accumulate_subsample": "Kazdan",
        },
        "sampler": {"ddim": "Song, Jiaming", "dpmsolver++": "DPM-Solver++", "sde-dpmsolver++": "DPM-Solver++"},
        "metric": {
            "fid": "Two Time-Scale",
            "fid_infinity": "Chong, Min",
            "kid": "Demystifying {MMD}",
            "precision": "Kynk",
            "recall": "Kynk",
            "density": "Naeem",
            "coverage": "Naeem",
            "vendi": "Vendi",
        },
        "space": {"inception_v3": "Szegedy", "efficientnet_lite0": "EfficientNet"},
    }
    every = {words for group in known.values() for words in group.values()}
    plain = fabricate.row(0.5, 0, 0)
    for group, members in known.items():
        for name, words in members.items():
            config = {**plain.config, "data": {"name": name if group == "data" else "procedural"}}
            model = "ddpm" if group == "sampler" else "x"
            config["generator"] = {"name": model, "sampling": {"sampler": name if group == "sampler" else ""}}
            config["mixing"] = {"policy": name if group == "policy" else "blend"}
            score = {
                **plain.scores[0],
                "metric": name if group == "metric" else "other",
                "feature_space": name if group == "space" else "other",
            }
            row = dataclasses.replace(
                plain, config=config, scores=[score], generator="x", policy=name if group == "policy" else "blend"
            )
            text = citing.bibtex(studies([ledger.Chain(row.chain, Path(), [row])]))
            assert {word for word in every if word in text} == {words}, (group, name)
            assert ("Denoising Diffusion Probabilistic" in text) == (group == "sampler")
