"""Nested values as dotted keys."""

from bench.flatten import flatten


def test_nested_dicts_are_flattened_and_empty_ones_kept():
    tree = {"a": {"b": 1, "c": {"d": [2]}}, "e": {}, "f": None}
    assert flatten(tree) == {"a.b": 1, "a.c.d": [2], "e": {}, "f": None}


def test_lists_are_flattened_on_request():
    tree = {"a": [{"b": 1}, (2, [])], "c": []}
    assert flatten(tree, lists=True) == {"a.0.b": 1, "a.1.0": 2, "a.1.1": [], "c": []}


def test_keys_are_text_and_the_top_may_be_a_leaf_or_empty():
    assert flatten({3: {4: "x"}}) == {"3.4": "x"}
    assert flatten(float("inf"), lists=True) == {"": float("inf")}
    assert flatten({}) == {}
