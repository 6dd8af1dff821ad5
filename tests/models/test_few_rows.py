"""Products of a few rows beside the library's."""

from __future__ import annotations

import pytest
import torch

from proxylm.models.kernels.decoding import few_rows
from proxylm.models.kernels.decoding.few_rows import MOST_ROWS, add_linear, linear


def some(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", range(1, MOST_ROWS + 2))
@pytest.mark.parametrize(("outputs", "inputs"), [(8, 16), (7, 33), (1, 5), (320, 128)])
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_they_equal_the_librarys(
    count: int, outputs: int, inputs: int, stored: torch.dtype
) -> None:
    rows, to = some(count, inputs), some(count, outputs)
    weight = some(outputs, inputs, seed=1).to(stored)
    expected = rows.double() @ weight.double().T
    torch.testing.assert_close(linear(rows, weight).double(), expected, rtol=1e-5, atol=1e-4)
    before = to.clone()
    added = add_linear(to, rows, weight).double()
    torch.testing.assert_close(added, to.double() + expected, rtol=1e-5, atol=1e-4)
    assert torch.equal(to, before)


def test_many_rows_and_large_matrices_go_to_the_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours: list[int] = []
    monkeypatch.setattr(few_rows, "add_products", lambda rows, *_: ours.append(len(rows)))
    for count in (0, 1, MOST_ROWS, MOST_ROWS + 1):
        linear(some(count, 8), some(8, 8))
    assert ours == [1, MOST_ROWS]
    monkeypatch.setattr(few_rows, "FEW_PRODUCTS", 3 * 64)
    for threads, expected in ((2, [3]), (1, [3, 4])):
        ours.clear()
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        add_linear(some(3, 8), some(3, 8), some(8, 8))
        add_linear(some(4, 8), some(4, 8), some(8, 8))
        assert ours == expected
