"""Output layer and cross-entropy in chunks: against PyTorch's own, and its peak memory."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from proxylm.models import cross_entropy
from proxylm.models.cross_entropy import chunked_cross_entropy, rows_per_chunk


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(70, 12, generator=generator, dtype=torch.float64).requires_grad_()
    weight = torch.randn(50, 12, generator=generator, dtype=torch.float64).requires_grad_()
    scales = torch.rand(70, generator=generator)
    return hidden, weight, scales, generator


@pytest.mark.parametrize("ranges", [[(0, 50)], [(0, 10)], [(0, 7), (20, 50)]])
@pytest.mark.parametrize("rows", [16, 1000])
def test_equals_cross_entropy_over_the_rows_of_the_ranges(problem, ranges, rows, monkeypatch):
    monkeypatch.setattr(cross_entropy, "rows_per_chunk", lambda columns: rows)
    hidden, weight, scales, generator = problem
    allowed = torch.cat([torch.arange(*r) for r in ranges])
    columns = torch.randint(0, len(allowed), (70,), generator=generator)
    loss, nats = chunked_cross_entropy(hidden, weight, allowed[columns], scales, ranges)
    (loss * 2).backward()
    gradients = hidden.grad.clone(), weight.grad.clone()
    hidden.grad = weight.grad = None
    wanted = F.cross_entropy(hidden @ weight[allowed].t(), columns, reduction="none")
    (2 * wanted * scales).sum().backward()
    torch.testing.assert_close(nats.double(), wanted.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(loss, (wanted * scales).sum().detach().float(), check_dtype=False)
    for found, parameter in zip(gradients, (hidden, weight), strict=True):
        torch.testing.assert_close(found, parameter.grad, rtol=1e-4, atol=1e-5)


def test_large_logits_stay_finite():
    hidden = torch.full((3, 1), 1e4, requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    loss, nats = chunked_cross_entropy(
        hidden, weight, torch.tensor([0, 0, 1]), torch.ones(3), [(0, 2)]
    )
    loss.backward()
    assert nats.tolist() == [0.0, 0.0, 2e4] and hidden.grad.isfinite().all()


def test_without_gradients_none_are_prepared(problem, monkeypatch):
    hidden, weight, scales, _ = problem
    monkeypatch.setattr(cross_entropy, "_accumulate", lambda *_: pytest.fail("gradient"))
    targets = torch.zeros(70, dtype=torch.int64)
    with torch.no_grad():
        chunked_cross_entropy(hidden, weight, targets, scales, [(0, 50)])


def test_rows_per_chunk_bound_the_logits():
    assert rows_per_chunk(320) * 320 * 4 <= 16 << 20
    assert rows_per_chunk(96_960) == 256


PROGRAM = """
import torch
from proxylm.bench.peak_memory import peak_memory_bytes
from proxylm.models.cross_entropy import chunked_cross_entropy
hidden = torch.randn({rows}, 16, requires_grad=True)
weight = torch.randn(96960, 16, requires_grad=True)
targets = torch.arange({rows})
before = peak_memory_bytes()
scales = torch.full(({rows},), 1 / {rows})
chunked_cross_entropy(hidden, weight, targets, scales, [(0, 96960)])[0].backward()
print(peak_memory_bytes() - before)
"""


@pytest.mark.parametrize("rows", [1024, pytest.param(16_384, marks=pytest.mark.long)])
def test_a_large_vocabulary_never_stores_its_logits(rows):
    command = [sys.executable, "-c", PROGRAM.format(rows=rows)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # The logits of one chunk take 99 MB, those of all rows 0.4 GB or 6.4 GB.
    assert 50e6 < int(printed) < 260e6
