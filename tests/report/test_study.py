"""Grouping: only what may be averaged is averaged."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import fabricate
import pytest

from bench import ledger
from bench.analysis import measures
from bench.analysis import study as study_module
from bench.analysis.artifacts import artifact_path
from bench.analysis.conditions import condition_of
from bench.analysis.notes import different_starts
from bench.analysis.setting import check_unmixed
from bench.analysis.study import Study, studies
from bench.errors import LedgerError


def test_conditions_come_by_ratio_and_hold_their_seeds(tmp_path: Path) -> None:
    fabricate.sweep(tmp_path, ratios=(1.0, 0.0, 0.5), seeds=(2, 0))
    (study,) = studies(ledger.read_runs([tmp_path]))
    assert [c.label for c in study.conditions] == ["0.00", "0.50", "1.00"]
    assert study.by_ratio
    assert study.seeds == [0, 2]
    assert study.generations == [0, 1, 2, 3]
    fid = study.measures("fid")[0]
    assert fid.arrow == "↓"
    assert fid.sizes == "N = 1024"
    assert study.measures("recall")[0].sizes == "N = 1024, k = 3"
    assert study.floor(fid) == 21.0
    values = study.values(study.conditions[2], 3, fid)
    assert values == {s: fabricate.row(1.0, 3, s).scores[0]["value"] for s in (0, 2)}


def test_another_setting_is_another_study_named_by_what_differs(tmp_path: Path) -> None:
    for resolution in (16, 32):
        data = {"name": "procedural", "kind": "flowers", "resolution": resolution, "num_train": resolution * 64}
        fabricate.sweep(tmp_path, seeds=(0,), sweep=f"s{resolution}", data=data, pictures=False)
    titles = [s.title for s in studies(ledger.read_runs([tmp_path]))]
    assert titles == [
        "s16: made-up at 16 px, ddpm (data.num_train=1024)",
        "s32: made-up at 32 px, ddpm (data.num_train=2048)",
    ]


def test_real_images_are_known_by_content_not_by_place(tmp_path: Path) -> None:
    def npz(path: str) -> dict:
        return {"name": "npz", "path": path, "resolution": 16}

    made = {"sweep": "s", "pictures": False, "ratios": (1.0,)}
    fabricate.sweep(tmp_path, seeds=(0,), data=npz("p/x.npz"), **made)
    fabricate.sweep(tmp_path, seeds=(1,), data=npz("/abs/p/x.npz"), **made)
    (study,) = studies(ledger.read_runs([tmp_path]))
    assert study.seeds == [0, 1]
    fabricate.sweep(tmp_path, seeds=(2,), data=npz("/abs/p/y.npz"), real="f" * 32, **made)
    result = studies(ledger.read_runs([tmp_path]))
    assert [(s.title, s.seeds) for s in result] == [
        ("s: made-up at 16 px, ddpm (data.path=x.npz)", [0, 1]),
        ("s: made-up at 16 px, ddpm (data.path=y.npz)", [2]),
    ]
    fabricate.sweep(tmp_path, seeds=(3,), data=npz("q/y.npz"), real="0" * 32, **made)
    assert len(studies(ledger.read_runs([tmp_path]))) == 3  # one name, other images


def test_one_policy_and_seed_twice_is_refused(tmp_path: Path) -> None:
    for sweep in ("one", "two"):
        fabricate.sweep(tmp_path, ratios=(0.5,), seeds=(0, 5), sweep=sweep, pictures=False)
    one, two = (next((tmp_path / sweep).glob("*seed5*")).name for sweep in ("one", "two"))
    chains = [chain for chain in ledger.read_runs([tmp_path]) if chain.rows[0].seed == 5]
    scores = [{**score, "value": score["value"] + 1} for score in chains[1].rows[-1].scores]
    chains[1].rows[-1] = dataclasses.replace(chains[1].rows[-1], scores=scores)
    with pytest.raises(LedgerError, match="the same policy and seed, but different scores") as error:
        studies(chains)
    assert one in str(error.value) and two in str(error.value) and "sweep (" in str(error.value)


def test_the_same_results_twice_are_counted_once_and_said(tmp_path: Path) -> None:
    """A chain that was run again with one more score, for fewer generations."""
    for sweep, generations in (("one", 3), ("two", 2)):
        fabricate.sweep(tmp_path, ratios=(0.5,), seeds=(0, 5), sweep=sweep, pictures=False, num_generations=generations)
    chains = ledger.read_runs([tmp_path])
    for chain in chains:
        if chain.rows[0].sweep == "two":
            more = {**chain.rows[0].config["metrics"], "scores": ["frechet"]}
            config = {**chain.rows[0].config, "metrics": more}
            chain.rows[:] = [dataclasses.replace(row, config=config) for row in chain.rows]
    (study,) = studies(chains)
    ((condition, by_seed),) = study.chains.items()
    assert [(seed, chain.rows[0].sweep, len(chain.rows)) for seed, chain in by_seed.items()] == [
        (0, "one", 3),
        (5, "one", 3),
    ]
    said = [note for note in study.notes if "is counted once" in note]
    assert len(said) == 2 and all("metrics.scores (" in note and "sweep (" in note for note in said)
    assert len(study.values(condition, 2, study.measures("fid")[0])) == 2


def test_chains_that_differ_in_trifles_are_of_one_study_that_says_so(tmp_path: Path) -> None:
    sweep = fabricate.sweep(tmp_path, ratios=(0.5,), seeds=(0, 1, 2), pictures=False, num_generations=2)
    chains = ledger.read_runs([sweep])
    settings = [{"num_resamples": 5, "scores": ["frechet"]}, {"extra_spaces": ["dinov2"]}, {}]
    for chain, given in zip(chains, settings, strict=True):
        config = {**chain.rows[0].config, "metrics": {**chain.rows[0].config["metrics"], **given}}
        chain.rows[:] = [dataclasses.replace(row, config=config) for row in chain.rows]
    extra = fabricate.score("fid", 7.0, space="dinov2")
    chains[1].rows[:] = [dataclasses.replace(row, scores=[*row.scores, extra]) for row in chains[1].rows]
    check_unmixed(chains)  # one space is in all
    (study,) = studies(chains)
    assert study.seeds == [0, 1, 2]
    said = [note for note in study.notes if note.startswith("chains differ in ")]
    assert [note.split(" (")[0].split()[-1] for note in said] == [
        "metrics.scores",
        "metrics.extra_spaces",
        "metrics.num_resamples",
    ]
    assert "frechet in 1; default in 2" in said[0] and "dinov2 in 1" in said[1]
    for chain, k in zip(chains, (3, 3, 5), strict=True):  # no trifle: never pooled
        config = {**chain.rows[0].config, "metrics": {**chain.rows[0].config["metrics"], "k": k}}
        chain.rows[:] = [dataclasses.replace(row, config=config) for row in chain.rows]
    assert sorted(len(one.seeds) for one in studies(chains)) == [1, 2]


def test_parameters_are_the_same_in_any_order() -> None:
    chains = []
    for seed, turn in enumerate((1, -1)):
        row = fabricate.row(0.5, 0, seed)
        scores = [{**s, "parameters": dict(list({"k": 3, "q": 1}.items())[::turn])} for s in row.scores[:1]]
        config = {**row.config, "mixing": dict(list(row.config["mixing"].items())[::turn])}
        row = dataclasses.replace(row, scores=scores, config=config)
        chains.append(ledger.Chain(row.chain, Path(), [row]))
    (study,) = studies(chains)
    (condition,), (measure,) = study.conditions, study.measures()
    assert set(study.values(condition, 0, measure)) == {0, 1}


@pytest.mark.parametrize(
    ("policy", "parameters", "label", "ratio"),
    [
        ("blend", {"synthetic_ratio": 0.5, "real_part": "redrawn"}, "0.50", 0.5),
        ("blend", {"synthetic_ratio": 0.5, "real_part": "fixed"}, "blend (r 0.5, real fixed)", 0.5),
        ("blend", {"synthetic_ratio": 0.125}, "0.12", 0.125),
        ("blend", {"synthetic_ratio": 1}, "1.00", 1.0),
        ("blend", {"synthetic_ratio": [0.0, 1.0]}, "blend (r [0.0, 1.0])", None),
        ("window", {"synthetic_ratio": 0.5, "num_generations": 2}, "window (r 0.5, last 2)", 0.5),
        ("replace", {}, "replace", 1.0),
        ("replace", {"num_images": None}, "replace", 1.0),
        ("replace", {"num_images": 512}, "replace (num images 512)", 1.0),
        ("accumulate_subsample", {}, "accumulate subsample", None),
        ("augment", {"synthetic_per_real": 0.2}, "augment (λ 0.2)", None),
        ("real_only", {"synthetic_ratio": 0.5, "real_part": "redrawn"}, "real only (r 0.5)", None),
    ],
)
def test_a_condition_is_named_by_its_policy(policy: str, parameters: dict, label: str, ratio: float | None) -> None:
    row = fabricate.row(0.5, 1, 0)
    row = dataclasses.replace(row, policy=policy, config={**row.config, "mixing": {"policy": policy, **parameters}})
    condition = condition_of(row)
    assert (condition.label, condition.ratio) == (label, ratio)
    assert json.loads(condition.parameters) == {name: v for name, v in parameters.items() if v is not None}


@pytest.mark.parametrize(
    ("mixings", "by_ratio"),
    [
        ([("fresh", 0.5, {}), ("fresh", 0.9, {})], True),
        ([("blend", 0.5, {}), ("replace", 1.0, {"num_images": None})], True),
        ([("blend", 0.5, {}), ("replace", 1.0, {"num_images": 512})], False),
        ([("fresh", 0.5, {}), ("replace", 1.0, {})], False),
        ([("fresh", 0.5, {}), ("window", 0.9, {})], False),
        ([("window", 0.5, {"num_generations": 2}), ("window", 0.9, {"num_generations": 3})], False),
        ([("blend", 0.5, {"real_part": "fixed"}), ("blend", 0.9, {"real_part": "redrawn"})], False),
    ],
)
def test_only_ratios_of_one_policy_lie_on_one_axis(mixings: list, by_ratio: bool) -> None:
    chains = []
    for policy, ratio, parameters in mixings:
        row = fabricate.row(ratio, 0, 0, policy=policy)
        given = {"policy": policy, **({} if policy == "replace" else {"synthetic_ratio": ratio}), **parameters}
        row = dataclasses.replace(row, config={**row.config, "mixing": given})
        chains.append(ledger.Chain(row.chain, Path(), [row]))
    (study,) = studies(chains)
    assert study.by_ratio == by_ratio


def test_what_a_reader_must_know_is_noted(tmp_path: Path) -> None:
    fabricate.sweep(tmp_path, ratios=(0.0,), seeds=(0, 1), pictures=False)
    fabricate.sweep(tmp_path, ratios=(1.0,), seeds=(0,), num_generations=2, pictures=False)
    (study,) = studies(ledger.read_runs([tmp_path]))
    notes = "\n".join(study.notes)
    assert "ends at generation 1 of 3" in notes
    assert "seeds per condition differ: 0.00 has 2, 1.00 has 1" in notes
    assert "single seed" in notes


def test_seeds_of_one_condition_in_different_precision_are_noted() -> None:
    chains = []
    for ratio, seed, precision in [(0.0, 0, "bf16"), (0.0, 1, "bf16"), (0.5, 0, "bf16"), (0.5, 1, "fp32")]:
        row = fabricate.row(ratio, 0, seed)
        row = dataclasses.replace(row, environment={**row.environment, "precision": precision})
        chains.append(ledger.Chain(row.chain, Path(), [row]))
    (study,) = studies(chains)
    (note,) = [note for note in study.notes if "precision" in note]
    assert note.startswith("0.50: seeds were run in different precision (bf16: 0; fp32: 1)")


def test_conditions_that_were_run_on_different_devices_are_noted() -> None:
    def study_on(devices: dict[float, str]) -> Study:
        rows = [(fabricate.row(ratio, 0, 0), device) for ratio, device in devices.items()]
        made = [dataclasses.replace(row, environment={**row.environment, "device": name}) for row, name in rows]
        return studies([ledger.Chain(row.chain, Path(), [row]) for row in made])[0]

    (note,) = [note for note in study_on({0.0: "cpu", 0.5: "GPU", 1.0: "cpu"}).notes if "device" in note]
    assert note == (
        "conditions were run on different devices (GPU: 0.50; cpu: 0.00, 1.00): chains of one seed share generation 0 "
        "on one device, and only the data across devices"
    )
    assert not any("device" in note for note in study_on({0.0: "cpu", 0.5: "cpu"}).notes)


def test_different_samples_of_generation_0_on_one_device_are_noted() -> None:
    """Planted: ratio 1 has another generation 0. A watermark, another generator or another device would explain it."""

    def noted(*others: tuple[float, dict[str, Any]]) -> list[str]:
        chains = []
        for ratio, changes in [(0.0, {}), (0.5, {}), *others]:
            row = fabricate.row(ratio, 0, 0)
            row = dataclasses.replace(row, checksums={"sample": "one"} | changes.pop("checksums", {}))
            row = dataclasses.replace(row, **{k: {**getattr(row, k), **v} for k, v in changes.items()})
            chains.append(ledger.Chain(row.chain, Path(), [row]))
        every = {condition: by_seed for study in studies(chains) for condition, by_seed in study.chains.items()}
        assert len(every) == 3
        return different_starts(every)

    other = {"checksums": {"sample": "other"}}
    (note,) = noted((1.0, {**other}))
    assert "different samples in the conditions 0.00, 0.50 / 1.00: they were computed on different machines" in note
    assert noted((1.0, {})) == []
    assert noted((1.0, {**other, "config": {"generator": {"name": "ddpm", "width": 2}}})) == []
    assert noted((1.0, {**other, "environment": {"device": "GPU"}})) == []
    assert noted((1.0, {**other, "config": {"watermark": {"name": "initial_noise"}}})) == []
    oracle = {**other, "config": {"vetting": {"name": "oracle"}}}
    assert noted((1.0, {**oracle, "vetting": {"num_real_dropped": 20}})) == [], "it trained on other items"
    assert noted((1.0, {**oracle, "vetting": {"num_real_dropped": 0}})), "vetting that dropped nothing explains nothing"


def test_uncommitted_changes_are_noted() -> None:
    rows = [fabricate.row(ratio, 0, 0) for ratio in (0.0, 1.0)]
    revisions = ("a" * 40, "b" * 40 + "+dirty")
    rows = [
        dataclasses.replace(row, environment={**row.environment, "code_revision": revision})
        for row, revision in zip(rows, revisions, strict=True)
    ]
    (study,) = studies([ledger.Chain(row.chain, Path(), [row]) for row in rows])
    (note,) = [note for note in study.notes if "uncommitted" in note]
    assert note == f"run with uncommitted changes to the code ({'b' * 12}+dirty): 1.00"
    later = fabricate.row(1.0, 1, 0)
    later = dataclasses.replace(later, environment={**later.environment, "code_revision": "c" * 40 + "+dirty"})
    first = dataclasses.replace(rows[1], environment=rows[0].environment)
    (study,) = studies([ledger.Chain(first.chain, Path(), [first, later])])
    (note,) = [note for note in study.notes if "uncommitted" in note]
    assert note == f"run with uncommitted changes to the code ({'c' * 12}+dirty): 1.00", "of a later generation"


def test_the_interval_of_a_floor_ends_at_the_values_that_a_score_can_have() -> None:
    """The ledger has t intervals, which know no bounds; KID may be negative."""
    row, ends = fabricate.row(0.5, 0, 0), {"resplit_low": -0.1, "resplit_high": 1.2}
    names = ("fid", "coverage", "kid")
    scores = [fabricate.score(m, 0.9, subject) for m in names for subject in ("samples", "real_train")]
    scores = [{**s, **ends} if s["subject"] == "real_train" else s for s in scores]
    (study,) = studies([ledger.Chain(row.chain, Path(), [dataclasses.replace(row, scores=scores)])])
    found = [study.floor_interval(study.measures(name)[0]) for name in names]
    assert found == [(0.0, 1.2), (0.0, 1.0), (-0.1, 1.2)]


def test_a_floor_of_fewer_images_is_noted_and_never_shown_as_one_of_more() -> None:
    row = fabricate.row(0.5, 0, 0)
    assert not any("floor" in note for note in studies([ledger.Chain(row.chain, Path(), [row])])[0].notes)
    scores = [
        {**s, "num_subject": 512, "num_reference": 512} if s["subject"] == "real_train" else s for s in row.scores
    ]
    row = dataclasses.replace(row, scores=scores)
    (study,) = studies([ledger.Chain(row.chain, Path(), [row])])
    fid = study.primary("fid")
    assert fid is not None and study.floor(fid) is None
    (note,) = [note for note in study.notes if "floor" in note]
    assert note.startswith("the floor at N = 1024 is missing") and note.endswith("real ones were scored at N = 512")


def test_artifacts_are_located_where_the_store_was_and_where_it_was_moved(tmp_path: Path) -> None:
    fabricate.sweep(tmp_path / "old", ratios=(0.0,), seeds=(0,), num_generations=1)
    (chain,) = ledger.read_runs([tmp_path / "old"])
    here = artifact_path(chain, chain.rows[0], "probes")
    assert here is not None and here.is_relative_to(tmp_path / "old" / "store")
    (tmp_path / "old").rename(tmp_path / "new")
    (chain,) = ledger.read_runs([tmp_path / "new"])
    moved = artifact_path(chain, chain.rows[0], "probes")
    assert moved is not None and moved.is_relative_to(tmp_path / "new")
    assert artifact_path(chain, chain.rows[0], "nothing") is None


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"name": "other", "num_generations": 9, "tracking": {"project": "x"}, "output_dir": "/x"}, True),
        ({"runtime": {"device": "cuda", "num_threads": 3}}, True),
        ({"runtime": {"precision": "bf16"}}, False),
        ({"runtime": {"precision": "auto"}, "selection": {"name": "none"}, "vetting": {"name": "none"}}, True),
        ({"generator": {"name": "ddpm", "training": {"num_steps": 801}}}, False),
        ({"metrics": {"feature_space": fabricate.SPACE, "num_images": 1024, "k": 5}}, False),
        ({"metrics": {"feature_space": fabricate.SPACE, "num_images": 1024, "k": 3, "weights": "/w"}}, True),
        ({"names": "a key that only begins like one of a place"}, False),
    ],
)
def test_only_what_changes_no_number_may_differ_within_a_study(changes: dict, same: bool) -> None:
    chains = []
    for seed, config in enumerate(({}, changes)):
        row = fabricate.row(0.5, 0, seed)
        row = dataclasses.replace(row, config={**row.config, **config})
        chains.append(ledger.Chain(row.chain, Path(), [row]))
    result = studies(chains)
    assert [sorted(study.seeds) for study in result] == ([[0, 1]] if same else [[0], [1]])
    assert len({study.hash for study in result}) == len(result)


def test_what_a_protocol_leaves_free_sets_conditions_of_one_study_apart() -> None:
    protocol = {"name": "biased", "version": 1, "free": {"seed": [], "generator.sampling.temperature": [1.0, 0.5]}}
    chains = []
    for number, temperature in enumerate((1.0, 0.5)):
        row = fabricate.row(1.0, 0, 3, policy="replace", protocol=protocol)
        sampling = {"sampling": {"temperature": temperature}}
        config = {**row.config, "generator": {**row.config["generator"], **sampling}}
        chains.append(ledger.Chain(f"chain {number}", Path(), [dataclasses.replace(row, config=config)]))
    (study,) = studies(chains)
    assert [c.label for c in study.conditions] == ["replace, temperature 0.5", "replace, temperature 1"]
    assert [list(study.chains[c]) for c in study.conditions] == [[3], [3]]
    assert [json.loads(c.parameters)["generator.sampling.temperature"] for c in study.conditions] == [0.5, 1.0]
    assert not study.by_ratio
    free = [dataclasses.replace(chain.rows[0], protocol={"name": None}) for chain in chains]
    free = [dataclasses.replace(r, config={**r.config, "protocol": {"name": None}}) for r in free]
    assert len(studies([ledger.Chain(f"chain {i}", Path(), [row]) for i, row in enumerate(free)])) == 2


def test_versions_of_the_code_that_differ_are_noted() -> None:
    rows = [dataclasses.replace(fabricate.row(0.5, 0, seed), code={"train": {"ddpm": 6 + seed}}) for seed in (0, 1)]
    (study,) = studies([ledger.Chain(row.chain, Path(), [row]) for row in rows])
    assert "several versions of the code train.ddpm were used (6, 7): rerun the older chains" in study.notes


@pytest.mark.parametrize("field", ["dataset", "generator", "protocol"])
def test_another_data_set_generator_or_protocol_is_another_study(field: str) -> None:
    rows = [fabricate.row(0.5, 0, seed) for seed in (0, 1)]
    changes: dict[str, Any] = {field: {"name": "p", "version": 1} if field == "protocol" else "other"}
    if field == "generator":
        changes["config"] = {**rows[1].config, "generator": {**rows[1].config["generator"], "name": "other"}}
    rows[1] = dataclasses.replace(rows[1], **changes)
    assert len(studies([ledger.Chain(row.chain, Path(), [row]) for row in rows])) == 2


def test_conditions_without_a_ratio_come_last_of_their_policy() -> None:
    mixings: list[dict[str, Any]] = [
        {"policy": "blend", "synthetic_ratio": [0.0, 1.0]},
        {"policy": "replace"},
        {"policy": "blend", "synthetic_ratio": 1.0},
        {"policy": "accumulate"},
        {"policy": "blend", "synthetic_ratio": 0.25},
    ]
    chains = []
    for given in mixings:
        row = fabricate.row(0.5, 0, 0, policy=given["policy"])
        row = dataclasses.replace(row, chain=json.dumps(given), config={**row.config, "mixing": given})
        chains.append(ledger.Chain(row.chain, Path(), [row]))
    (study,) = studies(chains)
    assert [c.label for c in study.conditions] == ["accumulate", "0.25", "1.00", "blend (r [0.0, 1.0])", "replace"]
    for condition, by_seed in study.chains.items():
        (chain,) = by_seed.values()
        assert json.loads(chain.id).get("policy") == condition.policy
    assert not study.by_ratio


def test_a_store_that_is_named_comes_before_the_one_next_to_the_sweep(tmp_path: Path) -> None:
    fabricate.sweep(tmp_path, ratios=(0.0,), seeds=(0,), num_generations=2)
    (chain,) = ledger.read_runs([tmp_path])
    named = tmp_path / "elsewhere"
    for generation in (0, 1):
        row = dataclasses.replace(chain.rows[generation], store_dir=str(named))
        stage, digest, file = row.artifacts["probes"].split("/")
        next_to_sweep = tmp_path / "store" / stage / digest[:2] / digest / file
        assert artifact_path(chain, row, "probes") == next_to_sweep
        path = named / stage / digest[:2] / digest / file
        path.parent.mkdir(parents=True)
        path.touch()
        assert artifact_path(chain, row, "probes") == path


def test_images_that_differ_only_in_content_make_two_studies() -> None:
    chains = []
    for seed, real in enumerate(("a" * 32, "b" * 32)):
        row = fabricate.row(0.5, 0, seed, real=real)
        chains.append(ledger.Chain(row.chain, Path(), [row]))
    titles = [study.title for study in studies(chains)]
    assert ["(data.content=aaaaaaaa)" in titles[0], "(data.content=bbbbbbbb)" in titles[1]] == [True, True]


def test_a_ledger_that_does_not_tell_the_content_goes_by_the_files_name() -> None:
    chains = []
    for seed, path in enumerate(("/x/one.npz", "/y/one.npz", "/x/two.npz")):
        row = fabricate.row(0.5, 0, seed, data={"name": "npz", "path": path, "resolution": 16})
        row = dataclasses.replace(row, artifacts={})
        chains.append(ledger.Chain(row.chain, Path(), [row]))
    assert [study.seeds for study in studies(chains)] == [[0, 1], [2]]


def test_a_floor_that_was_never_asked_for_is_not_missed() -> None:
    row = fabricate.row(0.5, 0, 0)
    row = dataclasses.replace(row, scores=[s for s in row.scores if s["subject"] == "samples"])
    (study,) = studies([ledger.Chain(row.chain, Path(), [row])])
    assert not any("floor" in note for note in study.notes)


def test_scores_are_read_once_and_then_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lookups scan no row, and what they return can be changed without changing the study."""
    (study,) = studies(ledger.read_runs([fabricate.sweep(tmp_path, pictures=False)]))
    monkeypatch.setattr(measures, "measure_of", lambda score: pytest.fail("a row was read again"))
    monkeypatch.setattr(study_module, "measure_of", measures.measure_of)
    for row in study.rows:
        row.scores.clear()
    fid = study.primary("fid")
    assert fid is not None and (len(study.measures()), study.floor(fid)) == (7, 21.0)
    for condition in study.conditions:
        assert condition.ratio is not None
        for generation in study.generations:
            values = study.values(condition, generation, fid)
            expected = {s: fabricate.row(condition.ratio, generation, s).scores[0]["value"] for s in study.seeds}
            assert values == expected
            values.clear()
            study.baselines(fid).clear()
            assert study.values(condition, generation, fid) == expected
    assert set(study.baselines(fid)) == {"real_train", "shuffled"}
    absent = dataclasses.replace(fid, num_subject=1)
    assert (study.values(study.conditions[0], 0, absent), study.baselines(absent), study.floor(absent)) == (
        {},
        {},
        None,
    )
