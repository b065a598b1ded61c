"""The witness derives every statement of a card again, and names what does not follow from the ledgers."""

import json
from pathlib import Path
from typing import Any

import distinct
import fabricate
import pytest

from bench import ledger
from bench.analysis import collapse, results_card
from bench.analysis.study import studies
from bench.ledger import Chain
from bench.witness import statements

SWEEPS: dict[str, list[dict[str, Any]]] = {
    "three seeds, paired": [{"num_generations": 6}],
    "five seeds": [{"num_generations": 4, "seeds": range(5)}],
    "three generations": [{"num_generations": 3}],
    "two generations": [{"num_generations": 2}],
    "one seed, ten generations": [{"num_generations": 10, "seeds": (0,)}],
    "two seeds, seven generations": [{"num_generations": 7, "seeds": (3, 11)}],
    "two seeds, four generations": [{"num_generations": 4, "seeds": (3, 11)}],
    "no ratio 0": [{"ratios": (0.5, 1.0), "num_generations": 9, "seeds": (1, 2)}],
    "some seeds at ratio 0": [
        {"ratios": (0.0,), "seeds": (2, 3, 4), "num_generations": 5},
        {"ratios": (1.0,), "seeds": (1, 2, 3, 4), "num_generations": 4},
    ],
    "too few seeds at ratio 0": [
        {"ratios": (0.0,), "seeds": (1, 2), "num_generations": 5},
        {"ratios": (1.0,), "seeds": (1, 2, 3, 4), "num_generations": 6},
    ],
    "text, by its perplexity": [{"num_generations": 6, "risk": ("perplexity", 20.0)}],
    "another policy": [{"ratios": (0.0,)}, {"ratios": (1.0,), "policy": "accumulate"}],
}


def made(tmp_path: Path, parts: list[dict[str, Any]]) -> tuple[dict[str, Any], list[Chain]]:
    for part in parts:
        folder = fabricate.sweep(tmp_path, pictures=False, **part)
    chains = ledger.read_runs([folder])
    (study,) = studies(chains)
    return json.loads(json.dumps(results_card.card(study), allow_nan=False)), chains


@pytest.mark.parametrize("kind", SWEEPS)
def test_the_witness_derives_every_verdict(kind: str, tmp_path: Path) -> None:
    card, chains = made(tmp_path, SWEEPS[kind])
    assert statements.examine(card, chains) == []


def test_the_witness_derives_verdicts_of_a_sweep_without_two_equal_numbers(tmp_path: Path) -> None:
    study = distinct.sweep(tmp_path)
    chains = ledger.read_runs([tmp_path / "made-up"])
    assert statements.examine(json.loads(json.dumps(results_card.card(study))), chains) == []


@pytest.mark.parametrize("kind", ["three seeds, paired", "one seed, ten generations", "no ratio 0"])
def test_a_word_or_number_that_was_changed_is_named(kind: str, tmp_path: Path) -> None:
    card, chains = made(tmp_path, SWEEPS[kind])
    for condition in card["conditions"]:
        told = condition["verdict"]
        word, rise = told["badge"], told["numbers"]["rise"]
        told["badge"] = "bounded" if word != "bounded" else "diverging"
        (said,) = statements.examine(card, chains)
        assert said.startswith(f"{condition['label']}: {told['badge']}") and word in said
        told["badge"] = word
        for i in range(3):
            honest, rise[i] = rise[i], rise[i] + 0.001
            (said,) = statements.examine(card, chains)
            assert said.startswith(f"{condition['label']}: ")
            rise[i] = honest
        assert statements.examine(card, chains) == []


@pytest.mark.parametrize(
    ("name", "value"), [("MARGIN", 10.0), ("FEWEST_SEEDS", 6), ("FEWEST_DEGREES", 1), ("CONFIDENCE", 0.9)]
)
def test_a_rule_that_was_changed_is_named(
    name: str, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = collapse.classify
    if name == "MARGIN":
        monkeypatch.setattr(collapse, "classify", lambda growth: honest(growth, value))
    else:
        monkeypatch.setattr(collapse, name, value)
    kind = "two seeds, four generations" if name == "FEWEST_DEGREES" else "five seeds"
    parts = [{"num_generations": 6, "seeds": (3, 11)}] if name == "FEWEST_DEGREES" else SWEEPS[kind]
    card, chains = made(tmp_path, parts)
    assert statements.examine(card, chains)
