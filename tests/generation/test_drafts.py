"""Drafts beside their definition: the most probable bytes by the product of the heads."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from proxylm.config import validate_config
from proxylm.errors import UsageError
from proxylm.generation.drafts import Chain, Draft, Tree, drafter_named
from proxylm.symbols import RAW_OFFSET


def some_heads(count: int, *, seed: int = 0, sharpness: float = 3.0) -> NDArray[np.float32]:
    logits = sharpness * np.random.default_rng(seed).normal(size=(count, 256))
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def paths(draft: Draft) -> list[tuple[int, ...]]:
    """The bytes on the way to each drafted one, it included."""
    found: list[tuple[int, ...]] = [()]
    for symbol, parent in zip(draft.symbols.tolist(), draft.parents.tolist(), strict=True):
        found.append((*found[parent], symbol - RAW_OFFSET))
    return found[1:]


def reached_with(heads: NDArray[np.float32], path: tuple[int, ...]) -> float:
    return float(np.prod([heads[level, value] for level, value in enumerate(path)]))


def test_a_chain_has_each_heads_best_byte() -> None:
    heads = some_heads(5)
    draft = Chain(least_probability=0).draft(heads, depth=9, window_depth=0)
    assert (draft.symbols - RAW_OFFSET).tolist() == heads.argmax(axis=1).tolist()
    assert not draft.branches
    assert paths(draft)[-1] == tuple(heads.argmax(axis=1))


@pytest.mark.parametrize(
    ("depth", "length", "expected"), [(9, 2, 2), (1, 7, 1), (0, 7, 0), (-1, 7, 0)]
)
def test_a_chain_is_never_too_long(depth: int, length: int, expected: int) -> None:
    chain = Chain(length=length, least_probability=0)
    assert len(chain.draft(some_heads(5), depth=depth, window_depth=9).symbols) == expected


def test_drafts_stop_where_they_are_hardly_reached() -> None:
    heads = some_heads(6)
    products = np.cumprod(heads.max(axis=1))
    least = 0.999 * float(products[2])  # rounding
    assert len(Chain(least_probability=least).draft(heads, depth=9, window_depth=9).symbols) == 3
    tree = Tree(nodes=200, depth=6, least_probability=least).draft(heads, depth=9, window_depth=9)
    assert all(reached_with(heads, path) > least for path in paths(tree))
    assert max(map(len, paths(tree))) == 3


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("nodes", [1, 7, 30])
def test_a_tree_has_the_most_probable_bytes(seed: int, nodes: int) -> None:
    heads = some_heads(3, seed=seed)
    best = [np.argsort(-row)[:nodes].tolist() for row in heads]
    everything = [
        path
        for level in range(1, 4)
        for path in itertools.product(*(best[i] for i in range(level)))
    ]
    values = sorted((reached_with(heads, path) for path in everything), reverse=True)[:nodes]
    draft = Tree(nodes=nodes, least_probability=0).draft(heads, depth=9, window_depth=9)
    found = paths(draft)
    assert len(set(found)) == nodes
    assert [reached_with(heads, path) for path in found] == pytest.approx(values)
    for index, (parent, symbol) in enumerate(zip(draft.parents, draft.symbols, strict=True), 1):
        assert parent < index
        assert draft.children[(int(parent), int(symbol))] == index


def test_a_tree_ends_with_the_window_and_a_chain_does_not() -> None:
    heads = some_heads(5, sharpness=9)
    tree = Tree(least_probability=0).draft(heads, depth=9, window_depth=2)
    assert max(map(len, paths(tree))) == 2
    assert len(Tree(least_probability=0).draft(heads, depth=9, window_depth=0).symbols) == 0
    assert len(Chain(least_probability=0).draft(heads, depth=9, window_depth=2).symbols) == 5


def test_drafters_by_name() -> None:
    assert drafter_named("tree") == Tree()
    assert drafter_named("none") is None
    with pytest.raises(
        UsageError, match="unknown drafter 'bush'; choose one of none, chain, tree, lookup"
    ):
        drafter_named("bush")
    with pytest.raises(UsageError, match="length"):
        validate_config(Chain, {"length": 0}, origin="drafter")
