"""Attention against the formulas written out query by query, and what must never leak."""

import math

import pytest
import torch

from proxylm.models.attention import DenseForm, with_summaries
from proxylm.models.config import CausalAttention, EvaAttention
from proxylm.models.masks import positions_within
from proxylm.models.rotary import rotate, rotation_of
from proxylm.models.summaries import summarize_chunks

EVA = EvaAttention(window=16, chunk=4)
HEAD_WIDTH = 6


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def chunk_summary(keys, values, kept, mu, phi):
    """One chunk of one head, as in the text of the formulas."""
    scale = HEAD_WIDTH**-0.5
    zero = torch.zeros(HEAD_WIDTH)
    keys = [key if keep else zero for key, keep in zip(keys, kept, strict=True)]
    key_exp = [math.exp(float(mu @ key)) for key in keys]
    key = sum(e * k for e, k in zip(key_exp, keys, strict=True)) / sum(key_exp)
    value_exp = [
        math.exp(scale * float(phi @ k - 0.5 * k @ k)) if keep else 0.0
        for k, keep in zip(keys, kept, strict=True)
    ]
    value = sum(e * v for e, v in zip(value_exp, values, strict=True)) / sum(value_exp)
    return key, value


def attend_one_query(i, documents, query, key, value, mu, phi):
    """One query of one head: exact keys of its window, summaries of earlier windows."""
    window, chunk = EVA.window, EVA.chunk
    seen = [
        (key[j], value[j])
        for j in range(i // window * window, i + 1)
        if documents[j] == documents[i]
    ]
    for first in range(0, i // window * window, chunk):
        members = range(first, first + chunk)
        last_document = documents[first + chunk - 1]
        if last_document == documents[i]:
            kept = [documents[j] == last_document for j in members]
            rows = [key[j] for j in members], [value[j] for j in members]
            seen.append(chunk_summary(*rows, kept, mu, phi))
    scores = [math.exp(HEAD_WIDTH**-0.5 * float(query[i] @ k)) for k, _ in seen]
    return sum(s * v for s, (_, v) in zip(scores, seen, strict=True)) / sum(scores)


@pytest.mark.parametrize("density", [0.0, 0.08, 0.3])
@pytest.mark.parametrize("length", [7, 33, 50])
def test_eva_is_its_formulas(packed, density, length):
    _, documents = packed(1, length, density=density, seed=length)
    heads = 2
    query, key, value = draw(3, length, heads, HEAD_WIDTH)
    mu, phi = draw(2, heads, HEAD_WIDTH, seed=1)
    found = DenseForm(EVA, documents).attend(query[None], key[None], value[None], mu, phi)[0]
    for head in range(heads):
        rows = (query[:, head], key[:, head], value[:, head])
        for i in range(length):
            wanted = attend_one_query(i, documents[0].tolist(), *rows, mu[head], phi[head])
            torch.testing.assert_close(found[i, head], wanted, rtol=1e-4, atol=1e-5)


def test_the_first_softmax_runs_over_masked_positions_too():
    keys, values = draw(2, 4, 1, HEAD_WIDTH)
    mu, phi = draw(2, 1, HEAD_WIDTH, seed=1)
    kept = torch.tensor([False, False, True, True])
    key, value = summarize_chunks(keys, values, mu, phi, kept)
    alone = summarize_chunks(keys[2:], values[2:], mu, phi)
    # Two keys of zero join the first softmax: the summary key shrinks, the value stays.
    exp = ((keys[2:, 0] @ mu[0]).exp()).sum()
    torch.testing.assert_close(key, alone[0] * exp / (exp + 2))
    torch.testing.assert_close(value, alone[1])


def test_summaries_of_a_context_are_those_of_its_chunks(packed):
    _, documents = packed(1, 40, density=0.1)
    key, value = draw(2, 1, 40, 1, HEAD_WIDTH)
    mu, phi = draw(2, 1, HEAD_WIDTH, seed=1)
    found = with_summaries(EVA, documents, key, value, mu, phi)
    assert found[0].shape == (1, 8 + 40, 1, HEAD_WIDTH)
    assert torch.equal(found[0][:, 8:], key) and torch.equal(found[1][:, 8:], value)
    for c in range(8):
        members = slice(4 * c, 4 * c + 4)
        kept = (documents[0, members] == documents[0, 4 * c + 3]).tolist()
        rows = list(key[0, members, 0]), list(value[0, members, 0])
        wanted = chunk_summary(*rows, kept, mu[0], phi[0])
        for tensor, expected in zip(found, wanted, strict=True):
            torch.testing.assert_close(tensor[0, c, 0], expected, rtol=1e-4, atol=1e-6)


def test_rotation_keeps_lengths_and_sees_only_distances():
    positions = torch.tensor([[0, 1, 5, 900]])
    rotation = rotation_of(positions, HEAD_WIDTH, 100.0)
    x, y = draw(2, 1, 4, 2, HEAD_WIDTH)
    turned = rotate(x, rotation)
    torch.testing.assert_close(turned[:, 0], x[:, 0])
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    moved = rotation_of(positions + 77, HEAD_WIDTH, 100.0)
    one, other = x[:, :1].expand(1, 4, 2, -1), y[:, :1].expand(1, 4, 2, -1)
    products = rotate(one, rotation) @ rotate(other, rotation).transpose(-1, -2)
    moved_products = rotate(one, moved) @ rotate(other, moved).transpose(-1, -2)
    torch.testing.assert_close(products, moved_products, rtol=1e-3, atol=1e-4)
    angle = 5 * 100.0 ** (-2 / HEAD_WIDTH)
    first, second = x[0, 2, 0, 1], x[0, 2, 0, 4]
    wanted = first * math.cos(angle) - second * math.sin(angle)
    torch.testing.assert_close(turned[0, 2, 0, 1], wanted)


def test_grouped_heads_share_their_key_head(packed):
    _, documents = packed(1, 30, density=0.1)
    query = draw(1, 30, 4, HEAD_WIDTH)
    key, value = draw(2, 1, 30, 2, HEAD_WIDTH, seed=1)
    found = DenseForm(CausalAttention(kv_heads=2), documents).attend(query, key, value, None, None)
    for head in range(4):
        for i in range(30):
            seen = [j for j in range(i + 1) if documents[0, j] == documents[0, i]]
            scores = torch.stack([query[0, i, head] @ key[0, j, head // 2] for j in seen])
            weights = torch.softmax(HEAD_WIDTH**-0.5 * scores, 0)
            wanted = weights @ value[0, seen, head // 2]
            torch.testing.assert_close(found[0, i, head], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [90, 130])
def test_no_document_hears_of_another(build, packed, attention, length):
    model, (ids, documents) = build(attention), packed(1, length)
    middle = int(documents.max()) // 2
    inside = documents == middle
    assert inside.any() and not inside.all()
    with torch.no_grad():
        before = model.logits(ids, documents)
        after = model.logits(torch.where(inside, (ids + 7) % 400, ids), documents)
    assert torch.equal(before[~inside], after[~inside])
    assert not torch.equal(before[inside], after[inside])


def test_the_future_is_not_seen(build, packed, attention):
    model, (ids, _) = build(attention), packed(1, 100)
    with torch.no_grad():
        before = model.logits(ids)
        for changed in (99, 70, 64, 63):
            other = ids.clone()
            other[0, changed] = (ids[0, changed] + 1) % 400
            after = model.logits(other)
            torch.testing.assert_close(after[:, :changed], before[:, :changed])
            assert (after[:, changed:] != before[:, changed:]).any(dim=-1).all()


def test_a_document_at_a_window_border_reads_as_if_alone(build, packed):
    model, (ids, _) = build(), packed(1, 150)
    documents = (torch.arange(150)[None] >= 64).long()
    with torch.no_grad():
        together = model.logits(ids, documents)[:, 64:]
        alone = model.logits(ids[:, 64:])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_elsewhere_chunks_fall_differently(build, packed):
    """Windows and chunks sit at fixed offsets of the context: that is the definition."""
    model, (ids, _) = build(), packed(1, 150)
    documents = (torch.arange(150)[None] >= 61).long()
    with torch.no_grad():
        together = model.logits(ids, documents)[:, 61:]
        alone = model.logits(ids[:, 61:])
    assert not torch.allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_given_positions_replace_counted_ones(build, packed, attention):
    model, (ids, documents) = build(attention), packed(1, 60)
    counted = positions_within(documents)
    with torch.no_grad():
        given = model.logits(ids, documents, counted)
        assert torch.equal(given, model.logits(ids, documents))
        moved = model.logits(ids, documents, counted + 1000)
        other = model.logits(ids, documents, torch.arange(60)[None] * 3)
    torch.testing.assert_close(moved, given, rtol=0.05, atol=0.05)
    assert not torch.allclose(other, given, rtol=0.05, atol=0.05)
