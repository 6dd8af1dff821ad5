"""``proxylm bench gpu``: training, decoding and agreement with the CPU, where there is a GPU.

- ``train/…``: as ``proxylm bench train --device cuda`` has them.
- ``gpu/decode/…``: greedy decoding of 1, 8 and 64 rows with the halves of every block compiled,
  beside the same without; and beside one reading of the weights per pass, which no pass can beat.
- ``gpu/parity/…``: how far the GPU's numbers lie from the CPU's, beside what its tests allow: the
  loss of packed contexts in float32 and bfloat16, the gradient that differs most, and logits
  through a cache.

On a CPU (``device="cpu"``) the same code runs with small sizes; that measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor

from proxylm.bench.generate import PROMPT, bare_reading, endless_model
from proxylm.bench.report import BenchmarkRow, alternate, rows_of
from proxylm.bench.train import run_train_benchmark, waited_for
from proxylm.bench.train_step import document_layout, symbols
from proxylm.device import resolve_device
from proxylm.generation.byte_model import ByteModel
from proxylm.models.config import Attention, CausalAttention, EvaAttention, ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.models.presets import preset
from proxylm.progress import TellCount, untold

DECODED_SIZE = preset("evabyte-0.5b")
ROWS = (1, 8, 64)
NEW_BYTES = 64
REPEATS = 3

PARITY_SIZE = preset("laptop", layers=2, width=256, ffn=384, heads=4, context=1024)
FLOAT32_LIMIT, BFLOAT16_LIMIT, GRADIENT_LIMIT = 1e-5, 1e-2, 1e-4
"""Relative, as ``tests/models/test_gpu_passes.py`` has them."""


def run_gpu_benchmark(
    device: str = "cuda",
    *,
    decoded: ModelConfig = DECODED_SIZE,
    parity: ModelConfig = PARITY_SIZE,
    rows: tuple[int, ...] = ROWS,
    new_bytes: int = NEW_BYTES,
    repeats: int = REPEATS,
    progress: TellCount = untold,
) -> list[BenchmarkRow]:
    """Measure all cases.

    Raises:
        UsageError: see ``resolve_device``.
    """
    place = resolve_device(device)
    cases: list[Callable[[], list[BenchmarkRow]]] = [
        partial(run_train_benchmark, device, repeats=repeats)
    ]
    model = partial(_on, place, decoded)
    cases += [partial(decoding_rows, model, count, new_bytes, repeats) for count in rows]
    cases += [partial(parity_rows, parity, attention, place) for attention in _attentions(parity)]
    return rows_of(cases, progress)


def _on(device: torch.device, config: ModelConfig) -> ByteModel:
    return ByteModel(endless_model(config).module.to(device))


def decoding_rows(
    make: Callable[[], ByteModel], rows: int, new_bytes: int, repeats: int
) -> list[BenchmarkRow]:
    """So many rows decoded together, compiled, beside uncompiled halves and beside bare reading."""
    model = make()

    def decode() -> None:
        made = model.generate_batch([PROMPT] * rows, max_new_bytes=new_bytes)
        assert all(len(data) == new_bytes for data in made)

    def decode_uncompiled() -> None:
        with torch.compiler.set_stance("force_eager"):
            decode()

    device = model.module.lm_head.weight.device
    read = waited_for(bare_reading(model.module, new_bytes), device)
    compiled, plain, reading = alternate(decode, decode_uncompiled, read, repeats=repeats)
    amount, case = rows * new_bytes, f"gpu/decode/{rows}"
    return [
        BenchmarkRow.of_rates(
            case, amount, "bytes/s", (compiled, plain), "the same, halves of blocks not compiled"
        ),
        BenchmarkRow.of_rates(
            f"{case}/reading",
            amount,
            "bytes/s",
            (compiled, reading),
            "every weight matrix read once per pass",
        ),
    ]


def _attentions(config: ModelConfig) -> dict[str, Attention]:
    assert isinstance(config.attention, EvaAttention)
    return {"eva": config.attention, "causal": CausalAttention(kv_heads=config.heads)}


def parity_rows(config: ModelConfig, attention: str, device: torch.device) -> list[BenchmarkRow]:
    """Relative distances of one model's numbers there to those on the CPU, beside their limits."""
    sizes = config.model_copy(update={"attention": _attentions(config)[attention]})
    here = LanguageModel(sizes, seed=1)
    there = deepcopy(here).to(device)
    loss, gradients = _loss_and_gradients(here)
    loss_there, gradients_there = _loss_and_gradients(there)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        rough, _ = _loss_and_gradients(there)
    smallest = 1e-6 * max(float(gradient.norm()) for gradient in gradients.values())
    apart = max(
        float((gradients_there[name] - gradient).norm() / (gradient.norm() + smallest))
        for name, gradient in gradients.items()
    )
    stepped, whole = _stepped(there), _whole(here)
    found = {
        "loss": (abs(loss_there - loss) / loss, FLOAT32_LIMIT),
        "loss-bfloat16": (abs(rough - loss) / loss, BFLOAT16_LIMIT),
        "gradients": (apart, GRADIENT_LIMIT),
        "steps": (float((stepped - whole).norm() / whole.norm()), GRADIENT_LIMIT),
    }
    return [
        BenchmarkRow(
            f"gpu/parity/{attention}/{name}",
            value,
            "relative",
            limit,
            "the limit of its test",
            lower_is_better=True,
        )
        for name, (value, limit) in found.items()
    ]


def _loss_and_gradients(model: LanguageModel) -> tuple[float, dict[str, Tensor]]:
    device = model.lm_head.weight.device
    ids = symbols(model.config.context).to(device)
    documents = torch.from_numpy(document_layout(model.config.context)).to(device)
    model.zero_grad(set_to_none=True)
    loss = model.loss(ids, ids.roll(-1, dims=1)[..., None], documents).loss
    loss.backward()
    gradients = {name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None}
    return float(loss.detach()), gradients


@torch.no_grad()
def _whole(model: LanguageModel) -> Tensor:
    return model.logits(symbols(model.config.context))[0, :, 0]


@torch.no_grad()
def _stepped(model: LanguageModel) -> Tensor:
    """The same logits by steps: the first half at once, then one symbol each, then the rest."""
    ids = symbols(model.config.context).to(model.lm_head.weight.device)
    half = ids.shape[1] // 2
    sizes = [half, *[1] * 32, ids.shape[1] - half - 32]
    cache = model.new_cache()
    parts = [model.step(part, cache)[0, :, 0] for part in ids.split(sizes, dim=1)]
    return torch.cat(parts).cpu()
