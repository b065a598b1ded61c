"""Files of results: rows as columns and back, where they lie, what they leave out, and what the gate refuses."""

import json
from dataclasses import replace
from pathlib import Path

import made_up
import pytest
from made_up import fabricate

from bench.errors import LedgerError
from bench.ledger import Chain, digest_of
from bench.results import columns, commands, gate, result_file, shelf

KNOWN = json.loads((Path(__file__).parents[1] / "golden_protocols.json").read_text())
CHAIN = made_up.chains((0.5,), (1,))[0]


def rounded(scores: list[dict]) -> list[dict]:
    return json.loads(json.dumps(scores), parse_float=lambda text: float(f"{float(text):.7g}"))


def rewritten(path: Path, **changes: object) -> None:
    """Changes entries of a file and gives it the digest that belongs to them, as someone who cheats would."""
    body = {**json.loads(path.read_text()), **changes}
    path.write_text(result_file.to_text({**body, "digest": digest_of(body)}))


@pytest.mark.parametrize(
    "values",
    [
        [1, 1, 1],
        [1, 2, 3],
        [True, 1],
        [1.0, 1],
        [None, 2],
        [[1], [1]],
        [{}, {}],
        [{"a": 1, "b": [2]}, {"a": 3, "b": [2]}],
        [{"a": 1}, {"b": 1}],
        [{"a": {"b": 1}}, {"a": {"b": 2}}],
    ],
)
def test_columns_give_back_what_was_folded(values):
    back = columns.unfold(json.loads(json.dumps(columns.fold(values))), len(values))
    assert [json.dumps(value) for value in back] == [json.dumps(value) for value in values]


def test_a_column_of_another_length_is_refused():
    with pytest.raises(ValueError, match="2 values for 3 generations"):
        columns.unfold({"a": {"each": [1, 2]}}, 3)


def test_a_score_that_some_generations_lack_stays_away_from_them():
    every = fabricate.row(0.5, 1, 0).scores
    rows = [every, [score for score in every if score["metric"] != "precision"], every]
    back = columns.unfold_scores(json.loads(json.dumps(columns.fold_scores(rows))), 3)
    assert back[0] == back[2] == rounded(every) or back[0] == every
    assert back[1] == rows[1]


def test_a_file_gives_back_the_rows(tmp_path):
    (path,) = shelf.pack([CHAIN], tmp_path)
    back = result_file.read(path)
    for name in ("chain", "seed", "composition", "code", "protocol", "config_hash", "wall_seconds", "finished_at"):
        assert [getattr(row, name) for row in back.rows] == [getattr(row, name) for row in CHAIN.rows]
    for one, row in zip(back.rows, CHAIN.rows, strict=True):
        assert one.scores == rounded(row.scores)
        assert one.checksums == {key: row.checksums[key] for key in ("sample", "score")}
        assert result_file.study_of(one) == result_file.study_of(row)
    assert path.stat().st_size < 20_000


def test_what_is_a_machines_own_is_left_out(tmp_path):
    (path,) = shelf.pack([CHAIN], tmp_path)
    text = path.read_text()
    assert "jane" not in text and "tracking" not in text
    assert '"platform": "Linux-x86_64-with-glibc2.36"' in text
    assert list(gate.private(json.loads(text))) == []


def test_the_place_tells_study_version_and_who_reports_it(tmp_path):
    (measured,) = shelf.pack([CHAIN], tmp_path)
    (claimed,) = shelf.pack([CHAIN], tmp_path, "jane-doe")
    assert measured == tmp_path / "collapse_mini_v1" / "1" / "measured" / f"{CHAIN.id}.json"
    assert claimed == tmp_path / "collapse_mini_v1" / "1" / "claimed" / "jane-doe" / f"{CHAIN.id}.json"
    entries = shelf.read(tmp_path)
    assert [entry.claimed_by for entry in entries] == ["jane-doe", ""]
    assert [entry.path for entry in shelf.measured(entries, "collapse_mini_v1")] == [measured]
    with pytest.raises(LedgerError, match="no results of quick; there are: collapse_mini_v1 1"):
        shelf.measured(entries, "quick")
    with pytest.raises(LedgerError, match="letters, digits"):
        shelf.pack([CHAIN], tmp_path, "../jane")


def test_a_file_in_the_wrong_place_is_refused(tmp_path):
    (path,) = shelf.pack([CHAIN], tmp_path)
    wrong = tmp_path / "collapse_mini_v1" / "2" / "measured" / path.name
    wrong.parent.mkdir(parents=True)
    path.rename(wrong)
    with pytest.raises(LedgerError, match="its content belongs at collapse_mini_v1/1/measured/blend"):
        shelf.read(tmp_path)


def test_a_sweep_without_a_protocol_has_the_fingerprint_of_what_its_chains_share():
    def made(**changes):
        return replace(fabricate.row(0.5, 1, 0, sweep="vae16"), **changes)

    one = made()
    study = result_file.study_of(one)
    assert (study["name"], study["version"]) == ("vae16", study["fingerprint"][:8])
    other_arm = fabricate.row(1.0, 0, 2, sweep="vae16", policy="replace")
    assert result_file.study_of(other_arm) == study
    differing = [
        made(config={**one.config, "num_generations": 9}),
        made(config={**one.config, "generator": {"name": "ddpm", "training": {"num_steps": 7}}}),
        made(code={"train": {"ddpm": 7}}),
        made(environment={**one.environment, "precision": "bf16"}),
        made(artifacts={**one.artifacts, "real": "real/0f"}),
        made(protocol={"name": "collapse_mini_v1", "version": 1, "deviations": {"k": [1, 2]}}),
    ]
    assert len({study["fingerprint"], *(result_file.study_of(row)["fingerprint"] for row in differing)}) == 7
    for arm in ({"mix": {"replace": 1}}, {"join": {"stage": 1}}):
        assert result_file.study_of(made(code=arm)) == study


def test_results_are_not_replaced_and_unfinished_chains_not_packed(tmp_path):
    (path,) = shelf.pack([CHAIN], tmp_path)
    assert shelf.pack([CHAIN], tmp_path) == [path]
    other = Chain(CHAIN.id, CHAIN.directory, [replace(row, wall_seconds=1.0) for row in CHAIN.rows])
    with pytest.raises(LedgerError, match="exists with different content"):
        shelf.pack([other], tmp_path)
    with pytest.raises(LedgerError, match="has 4 of 10 generations"):
        shelf.pack([Chain(CHAIN.id, CHAIN.directory, CHAIN.rows[:4])], tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ('"seed": 1', '"seed": 2', "its digest does not match"),
        ('"form": 1', '"form": 2', "not a file of results of form 1"),
        ("{", "[", "not JSON"),
        ('"digest"', '"digests"', "lacks digest"),
    ],
)
def test_a_changed_file_is_refused(tmp_path, was, now, message):
    (path,) = shelf.pack([CHAIN], tmp_path)
    path.write_text(path.read_text().replace(was, now, 1))
    with pytest.raises(LedgerError, match=message):
        shelf.read(tmp_path)


def test_a_file_with_a_digest_of_its_own_is_still_no_rows_or_of_another_study(tmp_path):
    (path,) = shelf.pack([CHAIN], tmp_path)
    text = path.read_text()
    rewritten(path, generations=[0, 1])
    with pytest.raises(LedgerError, match=r"holds no rows of a ledger: .*values for 2 generations"):
        shelf.read(tmp_path)
    path.write_text(text)
    rewritten(path, study={**json.loads(text)["study"], "fingerprint": "0" * 64})
    with pytest.raises(LedgerError, match="states study"):
        shelf.read(tmp_path)


def test_the_gate_takes_what_pack_writes(tmp_path):
    shelf.pack(made_up.chains(), tmp_path)
    assert gate.problems(shelf.read(tmp_path), KNOWN) == []


def test_the_gate_finds_a_seed_that_was_left_out(tmp_path):
    shelf.pack(
        [chain for chain in made_up.chains() if (chain.rows[0].seed, "r0.50" in chain.id) != (1, True)], tmp_path
    )
    assert gate.problems(shelf.read(tmp_path), KNOWN) == ["collapse_mini_v1 1, 0.50: seed 1 was left out"]
    shelf.pack(made_up.chains((1.0,), (1, 2)), tmp_path / "b")
    assert gate.problems(shelf.read(tmp_path / "b"), KNOWN) == ["collapse_mini_v1 1, 1.00: seed 0 was left out"]


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("dataset", "/home/jane/flowers", "names a folder on a machine"),
        ("dataset", "jane@example.org", "a mail address: jane@example.org"),
        ("dataset", "10.0.3.17", "a network address: 10.0.3.17"),
        ("dataset", "box.local", "a network address: box.local"),
        ("train", {"host": "jane-laptop"}, "the name of a machine or a person"),
        ("train", {"note": "WANDB_API_KEY=abcdef123456"}, "a secret"),
        ("dataset", "hf_abcdefghijklmnopqrst", "a secret"),
    ],
)
def test_the_gate_finds_what_is_private(tmp_path, entry, value, message):
    (path,) = shelf.pack(made_up.chains((0.0,), (0,)), tmp_path)
    rewritten(path, **{entry: value})
    found = gate.problems(shelf.read(tmp_path), KNOWN)
    assert len(found) == 1 and message in found[0]


def test_the_gate_finds_an_unknown_fingerprint_a_large_file_and_one_written_by_hand(tmp_path, monkeypatch):
    (path,) = shelf.pack(made_up.chains((0.0,), (0,)), tmp_path)
    for known in ({}, {"collapse_mini_v1 v1": "0" * 64}):
        assert "is not that of collapse_mini_v1 version 1" in gate.problems(shelf.read(tmp_path), known)[0]
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert "was not written by" in gate.problems(shelf.read(tmp_path), KNOWN)[0]
    monkeypatch.setattr(gate, "MOST_OF_A_FILE", 100)
    monkeypatch.setattr(gate, "MOST_IN_ALL", 100)
    found = gate.problems(shelf.read(tmp_path), KNOWN)
    assert any("of at most 100" in line for line in found) and found[-1].startswith("all files have")


def test_one_command_runs_all_chains_again():
    blend = made_up.chains((0.0, 0.5), (0, 2, 1))
    assert commands.commands(blend) == [
        "python -m bench -m protocol=collapse_mini_v1 mixing.synthetic_ratio=0,0.5 seed=0,1,2 runtime.num_threads=2"
    ]
    in_another_order = [*made_up.chains((0.0, 0.5), (0,)), *made_up.chains((0.5, 0.0), (1,))]
    assert len(commands.commands(in_another_order)) == 1
    more = made_up.chains((1.0,), (0,))
    assert len(commands.commands([*blend, *more])) == 2
    unknown = [replace(row, environment={}) for row in more[0].rows]
    assert commands.commands([Chain("x", Path(), unknown)]) == []


def test_a_file_whose_folder_was_left_out_is_written_as_its_name():
    row = replace(CHAIN.rows[0], environment={"command": "python -m bench data=npz data.path=…/flowers64.npz"})
    assert commands.command_of(row) == ["data=npz", "data.path=flowers64.npz"]


def test_an_option_of_several_components_is_written_as_a_sweep():
    told = "python -m bench protocol=remedies_mini_v1 mixing=replace remedy={} remedy.num_samples=384 seed=0"
    rows = [replace(CHAIN.rows[0], environment={"command": told.format(name)}) for name in ("neon", "sims")]
    (both,) = commands.commands([Chain(row.chain, Path(), [row]) for row in rows])
    assert both.endswith("mixing=replace remedy=neon,sims 'remedy.num_samples=choice(384)' seed=0")
    (one,) = commands.commands([Chain(rows[0].chain, Path(), rows[:1])])
    assert one.endswith("remedy=neon remedy.num_samples=384 seed=0")


def test_a_precision_that_was_asked_for_and_one_that_was_found_are_of_one_study():
    rows = [
        replace(CHAIN.rows[0], protocol={}, config={**CHAIN.rows[0].config, "runtime": {"precision": asked}})
        for asked in ("auto", "bf16")
    ]
    found = [{**row.environment, "precision": "bf16"} for row in rows]
    first, second = (result_file.study_of(replace(row, environment=at)) for row, at in zip(rows, found, strict=True))
    other = result_file.study_of(replace(rows[0], environment={**found[0], "precision": "fp32"}))
    assert first == second != other


def test_a_file_with_private_rows_is_published_without_them(tmp_path):
    rows = [replace(row, config={**row.config, "tracking": {"entity": "jane"}}) for row in CHAIN.rows]
    (path,) = shelf.pack([Chain(CHAIN.id, CHAIN.directory, rows)], tmp_path)
    assert "jane" not in path.read_text()


def test_the_shipped_files_pass_the_gate():
    """The gate of a pull request that adds results."""
    assert gate.problems(shelf.read(shelf.shipped()), KNOWN) == []


def test_columns_that_a_later_version_adds_leave_the_file_as_it_is():
    body = result_file.body_of(CHAIN)
    assert all(value != {} for key, value in body.items() if key in result_file.OPTIONAL)
    assert {"vetting", "selection", "remedy", "joined"} <= set(result_file.OPTIONAL) - body.keys()
    back = result_file.chain_of(body, Path("somewhere.json"))
    assert back.rows[0].vetting == back.rows[0].joined == {} and result_file.body_of(back) == body
