"""Mask rules against the definition spelled out in loops, and FlexAttention's form of them."""

import pytest
import torch
from torch.nn.attention.flex_attention import create_mask

from proxylm.models.attention import DenseForm
from proxylm.models.config import CausalAttention, EvaAttention
from proxylm.models.kernels.flex import FlexForm, VisibleColumns
from proxylm.models.masks import dense_mask, positions_within, visible_chunk_count

EVA = EvaAttention(window=16, chunk=4)


def eva_mask_by_definition(documents, attention):
    length, window, chunk = len(documents), attention.window, attention.chunk
    chunks = (length - 1) // window * (window // chunk)
    mask = torch.zeros(length, chunks + length, dtype=torch.bool)
    for i in range(length):
        for c in range(chunks):
            kept_document = documents[c * chunk + chunk - 1]
            earlier_window = (c * chunk) // window < i // window
            mask[i, c] = earlier_window and kept_document == documents[i]
        for j in range(i + 1):
            same_window = i // window == j // window
            mask[i, chunks + j] = same_window and documents[i] == documents[j]
    return mask


@pytest.mark.parametrize("length", [1, 15, 16, 17, 40, 64])
def test_eva_mask_is_the_definition(packed, length):
    _, documents = packed(3, length, density=0.1, seed=length)
    mask = dense_mask(documents, EVA)
    for row in range(3):
        assert torch.equal(mask[row], eva_mask_by_definition(documents[row].tolist(), EVA))


def test_every_query_sees_itself_and_never_another_document(packed):
    _, documents = packed(2, 64, density=0.1)
    count = visible_chunk_count(64, EVA)
    assert count == 12
    exact = dense_mask(documents, EVA)[:, :, count:]
    assert exact.diagonal(dim1=1, dim2=2).all()
    other = documents[:, :, None] != documents[:, None, :]
    assert other.any() and not (exact & other).any()


def test_causal_mask(packed):
    _, documents = packed(2, 20, density=0.2)
    mask = dense_mask(documents, CausalAttention(kv_heads=1))
    for row, i, j in torch.cartesian_prod(torch.arange(2), torch.arange(20), torch.arange(20)):
        assert mask[row, i, j] == bool(j <= i and documents[row, i] == documents[row, j])


@pytest.mark.parametrize("length", [1, 16, 17, 50, 128, 300])
@pytest.mark.parametrize("attention", [EVA, CausalAttention(kv_heads=1)], ids=["eva", "causal"])
def test_visible_columns_are_the_dense_mask(packed, attention, length):
    for density in (0, 0.02, 0.1, 0.9):
        _, documents = packed(2, length, density=density, seed=length)
        visible = VisibleColumns.of(attention, documents)
        found = create_mask(visible.mask_function(), 2, 1, length, visible.count, device="cpu")
        assert torch.equal(found[:, 0], dense_mask(documents, attention))


@pytest.mark.parametrize("window", [16, 64, 512])
@pytest.mark.parametrize("kind", ["eva", "causal"])
def test_tiles_are_listed_as_far_as_the_mask_has_something_in_them(packed, kind, window):
    chunk = {16: 4, 64: 16, 512: 2}[window]
    eva = EvaAttention(window=window, chunk=chunk)
    attention = eva if kind == "eva" else CausalAttention(kv_heads=1)
    for density in (0, 0.001, 0.02, 0.5):
        _, documents = packed(2, 8 * 128, density=density, seed=window)
        mask = dense_mask(documents, attention).unflatten(1, (8, 128))
        visible = VisibleColumns.of(attention, documents)
        found = visible.block_mask()
        for row in range(2):
            for tile in range(8):
                parts = mask[row, tile].split(128, dim=1)
                whole = [i for i, part in enumerate(parts) if part.all() and part.shape[1] == 128]
                some = [i for i, part in enumerate(parts) if part.any() and i not in whole]
                count = found.kv_num_blocks[row, 0, tile], found.full_kv_num_blocks[row, 0, tile]
                assert found.kv_indices[row, 0, tile, : count[0]].tolist() == some
                assert found.full_kv_indices[row, 0, tile, : count[1]].tolist() == whole


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("attention", [EVA, CausalAttention(kv_heads=1)], ids=["eva", "causal"])
@pytest.mark.parametrize("head_width", [8, 16])
def test_flex_attention_gives_what_dense_attention_gives(packed, attention, head_width):
    _, documents = packed(2, 50, density=0.05)
    generator = torch.Generator().manual_seed(0)
    heads = 2 if isinstance(attention, EvaAttention) else 1
    query = torch.randn(2, 50, 2, head_width, generator=generator)
    key, value = torch.randn(2, 2, 50, heads, head_width, generator=generator)
    mu, phi = torch.randn(2, 2, head_width, generator=generator)
    with torch.no_grad():
        found = FlexForm(attention, documents).attend(query, key, value, mu, phi)
        wanted = DenseForm(attention, documents).attend(query, key, value, mu, phi)
    torch.testing.assert_close(found, wanted)


def test_positions_restart_with_each_document(packed):
    _, documents = packed(3, 40, density=0.2)
    found = positions_within(documents)
    for row, column in torch.cartesian_prod(torch.arange(3), torch.arange(40)):
        before = (documents[row, :column] == documents[row, column]).sum()
        assert found[row, column] == before
