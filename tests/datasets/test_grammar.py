"""Drawn text: its likelihood against every path of a tiny grammar, its entropy, and agreement checked by a parser."""

import itertools

import numpy as np
import pytest
from configs import checked

from bench.datasets import grammar, load_real
from bench.datasets.grammar import Config
from bench.errors import ConfigError
from bench.kinds import TOKENS

TINY = {"num_nouns": 1, "num_verbs": 1, "num_adjectives": 1, "max_depth": 1, "num_train": 4, "num_heldout": 4}


def every_path(config: Config, block: list[int]) -> float:
    """The probability of a block as a plain sum over all paths of states."""
    known = grammar.build(config)
    paths = {(s,): p for s, p in enumerate(known.start)}
    for at, token in enumerate(block):
        seen = {path: p * known.emits[path[-1], token] for path, p in paths.items()}
        paths = {path: p for path, p in seen.items() if p > 0}
        if at + 1 < len(block):
            moved = ((path, p, to) for path, p in paths.items() for to in range(len(known.start)))
            paths = {(*path, to): p * known.moves[path[-1], to] for path, p, to in moved}
    return sum(paths.values())


def test_the_likelihood_is_the_sum_over_all_paths_and_all_blocks_sum_to_one():
    config = Config(**TINY, block_size=3)
    blocks = np.array(list(itertools.product(range(grammar.vocab_size(config)), repeat=3)), np.int32)
    chances = np.exp(-3 * grammar.true_risk(config, blocks))
    assert chances.sum() == pytest.approx(1, abs=1e-12)
    possible = np.flatnonzero(chances)
    assert 100 < len(possible) < len(blocks) / 4
    for row in [*possible[::37], *range(0, len(blocks), 499)]:
        assert chances[row] == pytest.approx(every_path(config, blocks[row].tolist()), abs=1e-14)
    long = grammar.draw(Config(**TINY, block_size=9), np.arange(3))
    expected = [-np.log(every_path(config, block.tolist())) / 9 for block in long]
    np.testing.assert_allclose(grammar.true_risk(config, long), expected)


def test_the_mean_loss_is_the_entropy_that_the_states_have():
    """Once a full stop has told the state, the loss of the next words is the entropy rate."""
    config = Config()
    blocks = grammar.draw(config, np.arange(8000))
    later = (64 * grammar.true_risk(config, blocks) - 32 * grammar.true_risk(config, blocks[:, :32])) / 32
    error = later.std() / len(later) ** 0.5
    assert error < 0.004 and abs(later.mean() - grammar.entropy_rate(config)) < 4 * error
    shares = np.bincount(blocks.ravel(), minlength=435) / blocks.size
    assert -(shares[1:] * np.log(shares[1:])).sum() == pytest.approx(grammar.unigram_entropy(config), abs=0.01)
    assert grammar.unigram_entropy(config) > grammar.entropy_rate(config) + 1


def test_words_follow_zipfs_law_within_their_class():
    config = Config(exponent=1.5)
    known = grammar.build(config)
    shares = np.bincount(grammar.draw(config, np.arange(4000)).ravel(), minlength=len(known.words))
    nouns = shares[[known.words.index(word) for word in grammar._classes(config)["noun singular"]]]
    np.testing.assert_allclose(nouns[:5] / nouns[0], np.arange(1, 6) ** -1.5, rtol=0.06)


def test_every_verb_agrees_with_its_subject_however_far_away():
    config = Config(max_depth=3, relative_clauses=0.6)
    kinds = {word: kind for kind, words in grammar._classes(config).items() for word in words}
    deepest = 0
    for text in grammar.decode(config, grammar.draw(config, np.arange(300))):
        for sentence in text.split(" . ")[1:-1]:  # whole ones
            waiting, verbs_done, most = [], False, 0
            for word in sentence.split():
                kind, _, number = kinds[word].partition(" ")
                if kind == "noun" and not verbs_done:
                    waiting.append(number)
                    most = max(most, len(waiting))
                elif kind == "verb":
                    assert waiting.pop() == number, sentence
                    verbs_done = not waiting
            assert verbs_done and not waiting, sentence
            deepest = max(deepest, most - 1)
    assert deepest == 3


def test_a_block_that_breaks_the_grammar_is_impossible_and_the_others_are_not():
    config = Config()
    blocks = grammar.draw(config, np.arange(50))
    assert np.isfinite(grammar.true_risk(config, blocks)).all()
    known = grammar.build(config)
    for token in (0, -1, len(known.words), known.words.index("that")):
        broken = blocks.copy()
        broken[:, 20:22] = token
        assert (grammar.true_risk(config, broken) == np.inf).all()


def test_a_block_is_a_function_of_seed_and_number():
    config = Config()
    many = grammar.draw(config, np.arange(40))
    assert many.dtype == np.int32 and many.shape == (40, 64)
    np.testing.assert_array_equal(grammar.draw(config, np.array([17, 3])), many[[17, 3]])
    assert (grammar.draw(Config(split_seed=1), np.arange(40)) != many).any(axis=1).all()
    assert len(np.unique(many, axis=0)) == 40


def test_the_parts_are_disjoint_and_the_held_out_blocks_stay_when_there_are_more():
    small = load_real(Config(num_train=30, num_heldout=20, num_reserve=10))
    large = load_real(Config(num_train=90, num_heldout=20))
    assert (len(small.train), len(small.heldout), len(small.reserve)) == (30, 20, 10) and large.reserve is None
    np.testing.assert_array_equal(small.heldout.items, large.heldout.items)
    np.testing.assert_array_equal(small.train.items, large.train.items[:30])
    assert small.train.kind is TOKENS


def test_values_are_pinned():
    """A change that moves a token or the distribution must raise `VERSION`, then these values."""
    assert grammar.VERSION == 1
    (text,) = grammar.decode(Config(), grammar.draw(Config(), np.array([0])))
    assert text.startswith("tomi giveth their pumus . the lima kazoth my zoma again . my sefas sumun")
    assert grammar.entropy_rate(Config()) == pytest.approx(2.961061268492375, rel=1e-12)
    assert grammar.vocab_size(Config()) == 435
    assert grammar.decode(Config(), np.array([[0, 435, -1]])) == ["<s> <435> <-1>"]


def test_no_relative_clauses_and_no_depth_are_one_grammar():
    plain, flat = Config(relative_clauses=0.0), Config(max_depth=0)
    assert grammar.entropy_rate(plain) == pytest.approx(grammar.entropy_rate(flat))
    assert grammar.entropy_rate(plain) != grammar.entropy_rate(Config())


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"num_train": None}, "num_train"), ({"block_size": 1}, "block_size"), ({"exponent": -1.0}, "exponent")],
)
def test_what_cannot_be_drawn_is_named(changes, key):
    with pytest.raises(ConfigError, match=f"^data.{key}="):
        checked(Config(**changes), "data")
