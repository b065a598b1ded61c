"""Text drawn from a known distribution: sentences of a small grammar over words that follow Zipf's law.

A hidden Markov chain moves through the positions of a sentence. Every subject is singular or plural, and its verb must
agree with it, also across the nested relative clauses that stand between the two:

    my tomi that the sefas that my dofo kazoth sozan giveth their pumus again .

A state contains the grammatical numbers of all subjects that wait for their verbs. Long-range agreement is therefore
exact, and yet the likelihood of any block of words is a sum over a few dozen states. Block i is a function of (grammar,
seed, i) alone, so a larger set begins with the blocks of a smaller one.
"""

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from bench.config import DataConfig
from bench.datasets.shared.source import BYTES_PER_ID, Source
from bench.datasets.shared.split import Split
from bench.errors import ConfigError
from bench.machine.memory import check_memory
from bench.options import option
from bench.pool import REAL
from bench.seeds import derive_seed

VERSION = 1
"""Must be raised by any change that alters a token or the distribution."""
KIND = "tokens"
CITATION = ""

START = "<s>"
"""Word 0, which occurs in no sentence: a language model starts with it if nothing precedes a block."""
DETERMINERS = ("the", "my", "your", "our", "their", "this")
ADVERBS = ("today", "again", "often", "here", "alone", "twice")
NUMBERS = ("singular", "plural")
ADJECTIVE, OBJECT, ADVERB = 0.4, 0.6, 0.3
"""Probabilities of an adjective before a noun, and of an object and of an adverb after a sentence's verb."""

State = tuple[str, tuple[str, ...]]
"""The class of the next word, and the grammatical numbers of the subjects that wait for their verbs."""


@dataclass
class Config(DataConfig):
    """Blocks of `block_size` words from an endless text of drawn sentences; a block may begin anywhere in a sentence.
    Words of a class have probability ∝ 1/rank^exponent. Each noun and verb has a singular and a plural form.
    relative_clauses: probability that a subject is followed by a relative clause, which has a subject of its own,
    nested at most `max_depth` deep. `num_reserve` is the number of blocks beyond training and held-out blocks. Endless
    data need no split: `split_seed` selects the blocks. `resolution` applies only to images and has no effect here."""

    name: str = "grammar"
    block_size: int = option(64, at_least=2, at_most=4096)
    num_nouns: int = option(120, at_least=1, at_most=4096)
    num_verbs: int = option(60, at_least=1, at_most=4096)
    num_adjectives: int = option(60, at_least=1, at_most=4096)
    exponent: float = option(1.0, at_least=0, at_most=10)
    relative_clauses: float = option(0.3, at_least=0, at_most=0.9)
    max_depth: int = option(2, at_least=0, at_most=5)
    num_train: int | None = option(2048, at_least=2)
    num_heldout: int = option(1024, at_least=2)
    num_reserve: int = option(0, at_least=0)

    def validate(self) -> None:
        if self.num_train is None:
            raise ConfigError("num_train", None, "drawn text is endless: give a number of blocks")


@dataclass(frozen=True, eq=False)
class Grammar:
    """A hidden Markov chain over words.

    Attributes:
        words: The words in the order of their token ids, V in all.
        start: Stationary distribution of the states, float64 (S,).
        moves: Probability of each next state given a state, float64 (S, S).
        emits: Probability of each word given a state, float64 (S, V).
    """

    words: tuple[str, ...]
    start: np.ndarray
    moves: np.ndarray
    emits: np.ndarray


def checksum(config: Config) -> str:
    """Return a constant, because the configuration and the version of the code determine the content."""
    return "drawn"


def vocab_size(config: Config) -> int:
    """Return the number of different tokens, word 0 included."""
    return 1 + sum(map(len, _classes(config).values()))


def build(config: Config) -> Grammar:
    """Return the grammar of a configuration."""
    options = (config.num_nouns, config.num_verbs, config.num_adjectives)
    return _build(*options, config.exponent, config.relative_clauses, config.max_depth)


def open_source(config: Config) -> Source:
    """Return a source of all blocks that the configuration asks for."""
    num = config.num_heldout + (config.num_train or 0) + config.num_reserve
    check_memory(num * (40 * config.block_size + BYTES_PER_ID), f"data={config.name}: {num} items")

    def read(rows: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        return draw(config, rows), {}

    return Source([f"grammar-{index:08d}" for index in range(num)], read)


def split(config: Config) -> Split:
    """Return the parts as ranges of indices, in the order held-out, train, reserve, because the blocks are
    independent."""
    first, second = config.num_heldout, config.num_heldout + (config.num_train or 0)
    rows = np.arange(second + config.num_reserve, dtype=np.int64)
    return Split(rows[:first], rows[first:second], rows[second:])


def draw(config: Config, rows: np.ndarray) -> np.ndarray:
    """Return the blocks with the given indices, int32 (n, block_size)."""
    grammar, size = build(config), config.block_size
    chance = np.stack([_uniforms(derive_seed(config.split_seed, REAL, "draw/grammar", int(i)), 2, size) for i in rows])
    next_state, next_word = np.cumsum(grammar.moves, axis=1), np.cumsum(grammar.emits, axis=1)
    state = _choose(np.cumsum(grammar.start)[None], chance[:, 0, 0])
    tokens = np.empty((len(rows), size), np.int32)
    for at in range(size):
        if at:
            state = _choose(next_state[state], chance[:, 0, at])
        tokens[:, at] = _choose(next_word[state], chance[:, 1, at])
    return tokens


def true_risk(config: Config, items: np.ndarray) -> np.ndarray:
    """Return minus the log-likelihood of each block under the grammar, in nats per token, float64 (N,), by the forward
    algorithm (Rabiner 1989, eq. 19 to 21). It is +inf for a block that no text of the grammar contains."""
    grammar = build(config)
    tokens = np.asarray(items)
    known = (tokens >= 0) & (tokens < len(grammar.words))
    emits = grammar.emits.T  # (V, S)
    total = np.zeros(len(tokens))
    belief = np.broadcast_to(grammar.start, (len(tokens), len(grammar.start)))
    for at in range(tokens.shape[1]):
        joint = belief * emits[np.where(known[:, at], tokens[:, at], 0)]  # word 0 has no probability
        chance = joint.sum(axis=1)
        with np.errstate(divide="ignore"):
            total -= np.log(chance)
        belief = np.divide(joint, chance[:, None], out=np.zeros_like(joint), where=chance[:, None] > 0) @ grammar.moves
    return total / tokens.shape[1]


def entropy_rate(config: Config) -> float:
    """Return the entropy of a word given all words before it, in nats: the limit of a perfect model's loss on long
    blocks. The value is exact, because a state and the class of the next word determine the next state."""
    grammar = build(config)
    of_moves = -(grammar.moves * _log(grammar.moves)).sum(axis=1)
    of_words = -(grammar.emits * _log(grammar.emits)).sum(axis=1)
    return float(grammar.start @ (of_moves + of_words))  # stationary: the state after a move has the same distribution


def unigram_entropy(config: Config) -> float:
    """Return the entropy of a word without its context, in nats: the loss of a model that knows only the
    frequencies."""
    grammar = build(config)
    shares = grammar.start @ grammar.emits
    return float(-(shares * _log(shares)).sum())


def decode(config: Config, items: np.ndarray) -> list[str]:
    """Return the text of each block, with words separated by spaces. A token that is not a word is shown as
    <number>."""
    words = build(config).words
    return [" ".join(words[t] if 0 <= t < len(words) else f"<{t}>" for t in row) for row in np.asarray(items).tolist()]


def _classes(config: Config) -> dict[str, tuple[str, ...]]:
    return _word_classes(config.num_nouns, config.num_verbs, config.num_adjectives)


@lru_cache(maxsize=8)
def _word_classes(num_nouns: int, num_verbs: int, num_adjectives: int) -> dict[str, tuple[str, ...]]:
    """Return the words of each class, the most frequent first. No word belongs to two classes."""
    stems = _stems()
    nouns, verbs, adjectives = (tuple(itertools.islice(stems, num)) for num in (num_nouns, num_verbs, num_adjectives))
    return {
        "full stop": (".",),
        "that": ("that",),
        "determiner": DETERMINERS,
        "adverb": ADVERBS,
        "adjective": tuple(f"{stem}y" for stem in adjectives),
        "noun singular": nouns,
        "noun plural": tuple(f"{stem}s" for stem in nouns),
        "verb singular": tuple(f"{stem}th" for stem in verbs),
        "verb plural": tuple(f"{stem}n" for stem in verbs),
    }


def _stems() -> Iterator[str]:
    """Yield distinct made-up words, shorter ones first, because frequent words are short."""
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    for length in itertools.count(2):
        words = map("".join, itertools.product(syllables, repeat=length))
        yield from sorted(words, key=lambda word: hashlib.sha256(word.encode()).digest())


@lru_cache(maxsize=8)
def _build(
    num_nouns: int, num_verbs: int, num_adjectives: int, exponent: float, relative_clauses: float, max_depth: int
) -> Grammar:
    classes = _word_classes(num_nouns, num_verbs, num_adjectives)
    words = (START, *itertools.chain.from_iterable(classes.values()))
    moves_from: dict[State, dict[State, float]] = {}
    ahead: list[State] = [("full stop", ())]
    while ahead:
        state = ahead.pop()
        if state not in moves_from:
            moves_from[state] = _moves(state, relative_clauses, max_depth)
            ahead += moves_from[state]
    states = list(moves_from)
    moves, emits = np.zeros((len(states), len(states))), np.zeros((len(states), len(words)))
    number = {word: token for token, word in enumerate(words)}
    for row, state in enumerate(states):
        for following, chance in moves_from[state].items():
            moves[row, states.index(following)] += chance
        own = classes[state[0].removeprefix("object ")]
        emits[row, [number[word] for word in own]] = _zipf(len(own), exponent)
    return Grammar(words, _stationary(moves), moves, emits)


def _moves(state: State, relative_clauses: float, max_depth: int) -> dict[State, float]:
    """Return the probabilities of the states that may follow a state."""
    what, waiting = state
    if what == "full stop":
        return {("determiner", ()): 1.0}
    if what == "that":
        return {("determiner", waiting): 1.0}
    kind = what.removeprefix("object ").split()[0]
    is_object = what.startswith("object ")
    if kind in ("determiner", "adjective"):
        prefix = "object " if is_object else ""
        adjective = ADJECTIVE if kind == "determiner" else 0.0
        nouns = {(f"{prefix}noun {n}", waiting if is_object else (*waiting, n)): (1 - adjective) / 2 for n in NUMBERS}
        return {**nouns, **({(f"{prefix}adjective", waiting): adjective} if adjective else {})}
    if kind == "noun" and not is_object:
        again = relative_clauses if len(waiting) <= max_depth else 0.0
        verb = {(f"verb {waiting[-1]}", waiting): 1 - again}
        return {**verb, **({("that", waiting): again} if again else {})}
    if kind == "verb" and len(waiting) > 1:  # the clause ends, and the verb of the enclosing subject follows
        return {(f"verb {waiting[-2]}", waiting[:-1]): 1.0}
    if kind == "verb":
        rest = 1 - OBJECT
        return {
            ("object determiner", ()): OBJECT,
            ("adverb", ()): rest * ADVERB,
            ("full stop", ()): rest * (1 - ADVERB),
        }
    if is_object:
        return {("adverb", ()): ADVERB, ("full stop", ()): 1 - ADVERB}
    return {("full stop", ()): 1.0}  # after an adverb


def _zipf(num: int, exponent: float) -> np.ndarray:
    shares = np.arange(1, num + 1) ** -exponent
    return shares / shares.sum()


def _stationary(moves: np.ndarray) -> np.ndarray:
    """Return the stationary distribution of the moves, float64 (S,)."""
    size = len(moves)
    equations = np.vstack([moves.T - np.eye(size), np.ones(size)])
    found = np.linalg.lstsq(equations, np.append(np.zeros(size), 1.0), rcond=None)[0].clip(min=0)
    return found / found.sum()


def _log(values: np.ndarray) -> np.ndarray:
    """Return the logarithms of probabilities, with 0 for a probability of 0 (0 log 0 = 0)."""
    return np.log(values, out=np.zeros_like(values), where=values > 0)


def _choose(cumulative: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Return the index that each number in [0, 1) selects, int64 (n,), from rows of cumulative probabilities. An index
    of probability 0 is never selected."""
    return (cumulative <= chance[:, None] * cumulative[:, -1:]).sum(axis=1)


def _uniforms(seed: int, *shape: int) -> np.ndarray:
    """Return numbers in [0, 1) from a hash, float64 of `shape`: the same in every version of NumPy."""
    size: int = int(np.prod(shape))
    words = np.frombuffer(hashlib.shake_128(str(seed).encode()).digest(8 * size), dtype="<u8")
    return ((words >> np.uint64(11)) * 2.0**-53).reshape(shape)
