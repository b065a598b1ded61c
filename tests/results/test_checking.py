"""A run beside the reference: the same bytes, within the spread, or different; and everything that a run may hide."""

import json
from dataclasses import replace
from pathlib import Path

import made_up
import pytest
from shrunk import composed

from bench import ledger
from bench.ledger import Chain
from bench.results import likeness, shelf
from bench.results.__main__ import main
from bench.results.likeness import DIFFERENT, SAME, UNKNOWN, WITHIN, liken
from bench.results.verification import verify

RUN = made_up.chains()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    shelf.pack(RUN, folder)
    return shelf.read(folder)


def changed(run: list[Chain], number: int, generation: int, **values: object) -> list[Chain]:
    """The run with some values of one row changed."""
    chain = run[number]
    rows = [replace(row, **values) if row.generation == generation else row for row in chain.rows]
    return [*run[:number], replace(chain, rows=rows), *run[number + 1 :]]


def scaled(run: list[Chain], factor: float, generation: int, metric: str = "fid") -> list[Chain]:
    """The run with other samples in one generation of all chains: one of their scores is multiplied, and the others
    hardly differ."""

    def of(score):
        return {**score, "value": score["value"] * (factor if score["metric"] == metric else 1.0001)}

    def other(row):
        scores = [of(score) if score["subject"] == "samples" else score for score in row.scores]
        return replace(row, checksums={**row.checksums, "sample": "0" * 64}, scores=scores)

    return [
        replace(chain, rows=[other(row) if row.generation == generation else row for row in chain.rows])
        for chain in run
    ]


def test_a_run_beside_itself_has_the_same_bytes(reference):
    found = verify(RUN, reference)
    assert found.problems == []
    assert found.likeness.outcome == SAME and len(found.likeness.same) == 9
    assert all("was not audited" in note for note in found.notes)


def test_other_samples_of_the_same_distribution_are_within_the_spread(reference):
    found = verify(made_up.chains(noise=1), reference)
    assert found.problems == []
    assert found.likeness.outcome == WITHIN and len(found.likeness.other) == 9
    judged = [one for one in found.likeness.compared if one.z is not None]
    assert len(judged) > 50 and any(abs(one.z) > 1 for one in judged)


def test_chance_seldom_calls_two_runs_of_one_distribution_different():
    """Among 40 pairs of runs at most a few; `ALPHA` is 1 %."""
    runs = [made_up.chains((0.5,), noise=number, num_generations=4) for number in range(80)]
    outcomes = [liken(one, other).outcome for one, other in zip(runs[::2], runs[1::2], strict=True)]
    assert set(outcomes) <= {WITHIN, DIFFERENT}
    assert outcomes.count(DIFFERENT) <= 2


def test_z_is_the_statistic_of_students_test(reference):
    from scipy import stats

    run = made_up.chains(noise=3)
    one = next(c for c in liken(run, RUN).compared if (c.condition.label, c.generation) == ("0.50", 4))
    values = [
        [s["value"] for c in chains if "r0.50" in c.id for s in c.rows[4].scores if likely(s, one.measure)]
        for chains in (run, RUN)
    ]
    expected = stats.ttest_ind(*values)
    assert (one.z, one.p) == pytest.approx((expected.statistic, expected.pvalue))


def likely(score, measure):
    return (score["metric"], score["subject"], score["reference"]) == (measure.metric, "samples", measure.reference)


def test_other_samples_are_found_with_the_machines_of_these_chains(reference):
    there = {**RUN[0].rows[0].environment, "device": "GPU"}
    moved = [replace(RUN[0], rows=[replace(row, environment=there) for row in RUN[0].rows]), *RUN[1:]]
    run = [*moved[:4], *scaled([RUN[4]], 1.01, 7), *moved[5:]]
    found = verify(run, reference)
    assert found.problems == [] and found.likeness.outcome == WITHIN
    assert [chain.id for chain, _ in found.likeness.other] == [RUN[4].id] and len(found.likeness.same) == 8
    assert found.notes[-1].startswith("1 chain has other samples than the reference; nothing that is recorded")
    there = {**RUN[4].rows[0].environment, "num_threads": 8, "versions": {"torch": "2.10.0", "numpy": "2.0.0"}}
    run[4] = replace(run[4], rows=[replace(row, environment=there) for row in run[4].rows])
    said = verify(run, reference).notes[-1]
    assert said.endswith("what differs: num_threads 8 and 2, versions.torch 2.10.0 and 2.9.0")


def test_a_distance_with_the_digits_of_other_samples_is_found(reference):
    run = changed(RUN, 4, 7, checksums={**RUN[4].rows[7].checksums, "sample": "0" * 64})
    points = {**RUN[4].rows[0].environment, "data_kind": "points"}
    last_bits = [*run[:4], replace(run[4], rows=[replace(row, environment=points) for row in run[4].rows]), *run[5:]]
    assert verify(last_bits, reference).problems == []
    found = verify(run, reference)
    assert found.likeness.outcome == DIFFERENT
    assert f"{RUN[4].id}, generation 7: efficientnet_lite0/fid is " in found.problems[0]
    said = "as in the reference, although the samples are not the same"
    assert all(line.startswith(RUN[4].id) and line.endswith(said) for line in found.problems)


def test_one_changed_score_is_found_where_the_samples_are_the_same(reference):
    scores = [{**s, "value": s["value"] * 1.001} if s["metric"] == "fid" else s for s in RUN[4].rows[7].scores]
    found = verify(changed(RUN, 4, 7, scores=scores), reference)
    assert found.likeness.outcome == DIFFERENT
    assert any(
        RUN[4].id in line and "generation 7" in line and "although the samples are the same" in line
        for line in found.problems
    )


def test_a_seed_that_was_left_out_is_found(reference):
    found = verify([chain for chain in RUN if chain.id != RUN[4].id], reference)
    assert found.problems == ["0.50: seed 1 was left out"]
    alone = verify([RUN[3], RUN[5]], reference)  # no other condition of the run has that seed either
    assert alone.problems == found.problems
    assert verify([RUN[5]], reference).problems == ["0.50: seeds 0, 1 were left out"]


def test_conditions_of_the_reference_that_a_run_lacks_are_named(reference):
    found = verify([chain for chain in RUN if "-r0.50-" in chain.id], reference)
    assert found.problems == []
    assert "the reference also has 0.00, 1.00: this run has no such chain" in found.notes
    assert not [note for note in verify(RUN, reference).notes if "also has" in note]


def test_without_a_reference_the_seeds_of_the_other_conditions_count():
    found = verify([chain for chain in RUN if chain.id != RUN[4].id], [])
    assert found.problems == ["0.50: seed 1 was left out"]
    assert found.likeness is None
    assert found.notes[-1].startswith("there are no reference results of collapse_mini_v1 653b6668d47f0c49")
    assert found.notes[-1].endswith(": the scores were compared with nothing")


def test_a_chain_without_some_generations_is_found(reference):
    run = [replace(RUN[0], rows=RUN[0].rows[:6]), *RUN[1:]]
    found = verify(run, reference)
    assert found.problems == [f"{RUN[0].id} lacks generations 6, 7, 8, 9"]
    assert found.likeness.outcome == SAME, "those that it has are the reference's"
    run = [replace(RUN[0], rows=[*RUN[0].rows[:4], *RUN[0].rows[5:]]), *RUN[1:]]
    assert verify(run, reference).problems == [f"{RUN[0].id} lacks generation 4"]


def test_a_rule_that_changes_generation_0_is_compared_with_itself(tmp_path):
    """Planted: samples with a watermark have four times the FID of those without, from generation 0 on."""
    marked = made_up.chains((0.5,), made_up.SEEDS, "watermark=initial_noise", "protocol.strict=false")
    for generation in range(made_up.NUM_GENERATIONS):
        marked = scaled(marked, 4.0, generation)
    plain = made_up.chains((0.5,), made_up.SEEDS, "protocol.strict=false", "watermark=none")
    protocol = {"protocol": marked[0].rows[0].protocol}
    plain = [replace(chain, rows=[replace(row, **protocol) for row in chain.rows]) for chain in plain]
    shelf.pack([*plain, *marked], tmp_path)
    entries = shelf.read(tmp_path)

    def said(run):
        return [line for line in verify(run, entries).problems if line.startswith("generation 0 is outside")]

    assert len({entry.name for entry in entries}) == 1
    assert said(plain) == said(marked) == said([*plain, *marked]) == []
    assert len(said(scaled(marked, 3.0, 0))) == 1


def test_a_damaged_chain_has_a_few_lines_and_their_number(reference):
    scores = [[{**s, "value": s["value"] * 1.1} for s in row.scores] for row in RUN[4].rows]
    rows = [replace(row, scores=values) for row, values in zip(RUN[4].rows, scores, strict=True)]
    lines = verify([*RUN[:4], replace(RUN[4], rows=rows), *RUN[5:]], reference).problems
    own = [line for line in lines if line.startswith(RUN[4].id)]
    assert len(own) == 4 and own[-1].startswith(f"{RUN[4].id}: and ") and own[-1].endswith(" more of this kind")


def test_a_generation_0_outside_the_spread_is_found(reference):
    problems = verify(scaled(RUN, 2.0, generation=0), reference).problems
    assert any("generation 0 is outside the reference's spread" in line and "FID" in line for line in problems)
    assert verify(scaled(RUN, 1.02, generation=0), reference).problems == []


def test_a_later_generation_that_differs_is_found(reference):
    found = verify(scaled(RUN, 4.0, generation=6), reference)
    assert found.likeness.outcome == DIFFERENT
    assert found.problems[0].startswith("differs from the reference: ")
    assert "generation 6, FID" in found.problems[0]
    assert not [line for line in found.problems if "generation 0 is" in line]


def test_one_seed_on_each_side_has_no_spread(tmp_path):
    shelf.pack(made_up.chains(seeds=(0,)), tmp_path)
    found = verify(made_up.chains(seeds=(0,), noise=1), shelf.read(tmp_path))
    assert found.likeness.outcome == UNKNOWN
    assert found.problems == [] and any("one seed on each side has no spread" in note for note in found.notes)


def test_a_tampered_protocol_is_refused(reference):
    def told(run):
        return " ".join(verify(run, reference).problems)

    first = RUN[0].rows[0]
    other = {**first.protocol, "fingerprint": "f" * 64}
    assert "of fingerprint ffffffffffffffff, and this version has version 1" in told(
        [replace(chain, rows=[replace(row, protocol=other) for row in chain.rows]) for chain in RUN]
    )
    hidden = {**first.config, "metrics": {**first.config["metrics"], "k": 3}}
    lines = told([replace(RUN[0], rows=[replace(row, config=hidden) for row in RUN[0].rows]), *RUN[1:]])
    assert "states deviations {}, and departs from collapse_mini_v1 in {'metrics.k': [5, 3]}" in lines
    unknown = {**first.protocol, "name": "my_own"}
    assert "which this version does not have" in told([replace(RUN[0], rows=[replace(first, protocol=unknown)])])
    assert "has generations of several studies" in told(changed(RUN, 0, 3, protocol=other))


def test_a_deviating_run_does_not_pass_unless_the_reference_deviates_alike(tmp_path, reference):
    short = ("protocol.strict=false", "num_generations=3")
    from bench import protocols

    protocols.check(made_up.config_of(0.5, 0, *short))
    run = made_up.chains((0.5,), (0,), *short, num_generations=3)
    found = verify(run, reference)
    assert found.problems == [f"{run[0].id} deviates from collapse_mini_v1: num_generations is 3, not 10"]
    (path,) = shelf.pack(run, tmp_path)
    assert path.parts[-4] == "collapse_mini_v1_deviating"
    found = verify(run, shelf.read(tmp_path))
    assert found.problems == [] and found.likeness.outcome == SAME
    assert any("so does the reference" in note for note in found.notes)


@pytest.fixture(scope="module")
def real_run(tmp_path_factory):
    """Two chains of two seeds with a store, run twice from nothing."""
    from bench.loop import run_chain
    from bench.machine.console import Console

    folders = [tmp_path_factory.mktemp(name) for name in ("first", "again")]
    points = [
        "experiment=none",
        "data=points",
        "data.num_train=64",
        "data.num_heldout=64",
        "generator=gaussian",
        "metrics=identity",
    ]
    for folder in folders:
        for seed in (0, 1):
            places = [f"output_dir={folder}", "name=small", f"seed={seed}", "num_generations=2"]
            config = composed(*points, "metrics.num_images=64", "metrics.scores=[frechet]", *places)
            run_chain(config, Console(quiet=True))
    return [folder / "small" for folder in folders]


def test_a_chain_that_is_run_again_has_the_samples_of_its_file_and_passes(real_run, tmp_path, capsys):
    first, again = real_run
    assert main(["pack", str(first), "--out", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    reference = ["--reference", str(tmp_path)]
    assert main([*reference, "check", str(again)]) == 0
    out = capsys.readouterr().out
    assert "2 chains, 0 problems; beside the reference: same bytes" in out
    assert "was not audited" not in out
    assert main([*reference, "compare", str(again)]) == 0
    out = capsys.readouterr().out
    assert "2 chains have the samples of the reference, 0 others" in out and "Outcome: same bytes." in out
    assert main([*reference, "check", str(tmp_path)]) == 0  # the files of a submission, too
    assert "was not audited: its stored results are not here" in capsys.readouterr().out
    assert main([*reference, "list"]) == 0
    assert "2 chains of 2 seeds, 2 generations; 0 claimed" in capsys.readouterr().out
    assert main([*reference, "show", "small"]) == 0
    assert "**FID ↓**" in capsys.readouterr().out


def test_a_report_beside_the_ledgers_is_no_result(tmp_path, capsys):
    shelf.pack(RUN, tmp_path / "reference")
    run = made_up.written(RUN, tmp_path / "run")
    (run / "report").mkdir()
    (run / "report" / "card.json").write_text("{}")  # `make run` writes one
    for verb in ("check", "compare"):
        assert main(["--reference", str(tmp_path / "reference"), verb, str(run)]) == 0
        assert "same bytes" in capsys.readouterr().out


def test_single_files_of_results_can_be_checked_and_paths_given_twice_count_once(tmp_path, capsys):
    files = [str(path) for path in shelf.pack(RUN, tmp_path / "reference")]
    run = str(made_up.written(RUN, tmp_path / "run"))
    for paths in (files, files + files, [str(tmp_path / "reference")] * 2, [run, run]):
        assert main(["--reference", str(tmp_path / "reference"), "check", *paths]) == 0
        assert "9 chains, 0 problems; beside the reference: same bytes" in capsys.readouterr().out


def test_a_store_with_other_results_is_no_store_of_the_run(real_run, tmp_path, capsys):
    chain = ledger.read_runs([real_run[0]])[0]
    (tmp_path / "store" / "sample").mkdir(parents=True)
    moved = replace(chain, rows=[replace(row, store_dir=str(tmp_path / "store")) for row in chain.rows])
    (note,) = [note for note in verify([moved], []).notes if "audited" in note]
    assert note == f"{chain.id} was not audited: its stored results are not here"


def test_fewer_seeds_with_the_same_samples_are_equal_and_not_a_difference(tmp_path, capsys):
    shelf.pack(RUN, tmp_path / "reference")
    run = made_up.written([RUN[4]], tmp_path / "run")
    assert main(["--reference", str(tmp_path / "reference"), "compare", str(run)]) == 0
    out = capsys.readouterr().out
    assert "Outcome: same bytes." in out and "| = | = |" in out and "+0." not in out and "-0." not in out


def test_check_does_not_advise_to_delete_what_it_was_given(tmp_path, capsys):
    (tmp_path / "README.md").write_text("# A page\n")
    run = made_up.written([RUN[4]], tmp_path / "run")
    (path,) = run.rglob(ledger.FILENAME)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["scores"][0]["value"] *= 0.5
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for given, said in ((tmp_path / "README.md", "line 1: not JSON"), (run, "was changed after it was written")):
        for verb in ("check", "compare"):
            assert main([verb, str(given)]) == 2
            err = capsys.readouterr().err
            assert said in err and "delete" not in err


def test_check_audits_the_store(real_run, tmp_path, capsys):
    first, again = real_run
    shelf.pack(ledger.read_runs([first]), tmp_path)
    chain = ledger.read_runs([again])[0]
    pool = Path(chain.rows[1].store_dir) / chain.rows[1].artifacts["samples"] / "items.npy"
    kept = pool.read_bytes()
    try:
        pool.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        assert main(["--reference", str(tmp_path), "check", str(again)]) == 1
    finally:
        pool.write_bytes(kept)
    assert "PROBLEM" in (out := capsys.readouterr().out) and "is damaged" in out


def test_a_run_without_a_reference_can_be_checked_and_not_compared(real_run, tmp_path, capsys):
    assert main(["--reference", str(tmp_path), "check", str(real_run[0])]) == 0
    assert "beside the reference: there is none" in capsys.readouterr().out
    assert main(["--reference", str(tmp_path), "compare", str(real_run[0])]) == 2
    assert "there are no reference results of small" in capsys.readouterr().err


def test_claimed_results_are_no_reference(tmp_path, capsys):
    shelf.pack(RUN, tmp_path, "jane-doe")
    run = made_up.written(RUN, tmp_path.with_name("run_beside_claims"))
    assert main(["--reference", str(tmp_path), "compare", str(run)]) == 2
    said = capsys.readouterr().err
    assert (
        said
        == "error: there are no reference results of collapse_mini_v1 653b6668d47f0c49; there are claimed results\n"
    )


def test_a_folder_without_results_is_an_error_of_list(tmp_path, capsys):
    assert main(["--reference", str(tmp_path), "list"]) == 2
    assert f"{tmp_path}: there are no files of results below it" in capsys.readouterr().err


def test_a_reference_that_is_not_there_is_an_error(tmp_path, capsys):
    for arguments in (["list"], ["check", str(made_up.written(RUN, tmp_path / "run"))]):
        assert main(["--reference", str(tmp_path / "nowhere"), *arguments]) == 2
        assert "nowhere: there is no such folder of results" in capsys.readouterr().err


def test_compare_tells_a_difference_by_its_exit_status(tmp_path, capsys):
    shelf.pack(RUN, tmp_path / "reference")
    run = made_up.written(scaled(RUN, 4.0, generation=6), tmp_path / "run")
    assert main(["--reference", str(tmp_path / "reference"), "compare", str(run)]) == 1
    out = capsys.readouterr().out
    assert "| condition | score | space | gen 0 |" in out and "Outcome: different." in out
    assert "0.50, generation 6, FID in efficientnet_lite0" in out
    assert likeness.ALPHA == 0.01 and "scores differ beyond chance" in out
