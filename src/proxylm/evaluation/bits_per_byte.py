"""Bits per byte: how well a model predicts documents, per byte of their raw form.

Definition (method, section 9): the bits ``-log2 p`` of a document's *content* symbols (neither
sentinels nor ``<eos>``) given ``<bos> <raw>`` (or ``<bos> <compressed>``; ``<bos>`` alone for a
model without sentinels), each document alone from offset 0, longer ones by strided windows
(``evaluation.windows``); divided by the number of the document's **raw** bytes, whatever it is
read as. ``p`` is head 0's probability as it was trained: a softmax over the whole vocabulary, or
with ``softmax: by_format`` over what can follow inside that format.

Windows of like length are computed together, padded on the right. A symbol never sees what comes
after it, so neither the padding nor the company of a window changes its bits beyond rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proxylm.errors import DataError, UsageError
from proxylm.evaluation.readings import Content, Reading
from proxylm.evaluation.windows import Window, scoring_windows, window_span
from proxylm.models.cross_entropy import Ranges, chunked_cross_entropy
from proxylm.models.formats import Region
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import BOS, PAD, Format

BITS_PER_NAT = 1.0 / np.log(2.0)
DEFAULT_BATCH_SYMBOLS = 8192


def bits_per_byte(
    model: LanguageModel,
    documents: Sequence[bytes],
    view: Reading,
    *,
    context: int | None = None,
    stride: int | None = None,
    batch_symbols: int = DEFAULT_BATCH_SYMBOLS,
) -> list[float]:
    """Bits per raw byte of each document.

    Args:
        model: the model; it is evaluated without gradients and left in the mode it was in.
        documents: raw bytes, none empty.
        view: ``RawView()`` or ``CompressedReading(compressor)``.
        context: most input symbols of a forward pass; None takes the model's training context.
        stride: symbols that each further window of a longer document scores; None takes half of
            the context.
        batch_symbols: input symbols of the passes computed together; a matter of speed alone.

    Returns:
        One number per document, in order.

    Raises:
        UsageError: impossible context or stride, or symbols that the model does not have.
        DataError: a document is empty, so there is nothing to divide by.
    """
    for index, document in enumerate(documents):
        if len(document) == 0:
            raise DataError(f"document {index} is empty: bits per byte has nothing to divide by")
    bits = content_bits(
        model,
        view.contents(documents),
        view.format,
        context=context,
        stride=stride,
        batch_symbols=batch_symbols,
    )
    return [float(total) / len(document) for total, document in zip(bits, documents, strict=True)]


def content_bits(
    model: LanguageModel,
    contents: Sequence[Content],
    content_format: Format,
    *,
    context: int | None = None,
    stride: int | None = None,
    batch_symbols: int = DEFAULT_BATCH_SYMBOLS,
) -> NDArray[np.float64]:
    """Total bits of each content's symbols; the other arguments are those of ``bits_per_byte``.

    For symbols that are at hand already, such as a stored view's.

    Args:
        contents: symbols ``[m_i]`` without the format's offset; may be empty (0 bits).
        content_format: what they are.

    Returns:
        float64 ``[len(contents)]``.
    """
    if content_format is Format.RAW:
        model.config.require_raw_bytes()
    prefix = _prefix(model, content_format)
    size = model.config.context if context is None else context
    span = window_span(size, len(prefix))
    chosen_stride = min(max(1, size // 2), span) if stride is None else stride
    ids = [_ids(model, index, content, content_format) for index, content in enumerate(contents)]
    passes = [
        _Pass(index, window, len(prefix))
        for index, content in enumerate(ids)
        for window in scoring_windows(
            len(content), context=size, stride=chosen_stride, prefix_length=len(prefix)
        )
    ]
    totals = np.zeros(len(contents), dtype=np.float64)
    with evaluation_mode(model):
        for batch in _batches(passes, batch_symbols):
            for one, bits in zip(batch, _bits_of(model, batch, ids, prefix), strict=True):
                totals[one.document] += bits
    return totals


@contextmanager
def evaluation_mode(model: LanguageModel) -> Iterator[None]:
    """Evaluation mode without gradients; the mode before comes back afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


@dataclass(frozen=True, slots=True)
class _Pass:
    """One window of one document as inputs: the prefix, then all its content but the last."""

    document: int
    window: Window
    prefix_length: int

    @property
    def input_count(self) -> int:
        return self.prefix_length + self.window.end - self.window.start - 1


def _batches(passes: list[_Pass], batch_symbols: int) -> Iterator[list[_Pass]]:
    # Longest first: the padding of a batch is then small, and memory trouble shows at once.
    rest = sorted(passes, key=lambda one: (-one.input_count, one.document, one.window.start))
    while rest:
        rows = max(1, batch_symbols // rest[0].input_count)
        yield rest[:rows]
        rest = rest[rows:]


def _bits_of(
    model: LanguageModel, batch: list[_Pass], ids: list[NDArray[np.int64]], prefix: list[int]
) -> list[float]:
    device = model.lm_head.weight.device
    inputs = np.full((len(batch), batch[0].input_count), PAD, dtype=np.int64)
    places, targets = [], []
    for row, one in enumerate(batch):
        content, window = ids[one.document], one.window
        inputs[row, : len(prefix)] = prefix
        inputs[row, len(prefix) : one.input_count] = content[window.start : window.end - 1]
        scored = np.arange(window.first_scored, window.end)
        # The symbol at content offset j is predicted one input earlier.
        places.append(row * inputs.shape[1] + len(prefix) - 1 + scored - window.start)
        targets.append(content[scored])
    hidden = model.hidden(torch.from_numpy(inputs).to(device)).flatten(0, 1)
    wanted = torch.from_numpy(np.concatenate(targets)).to(device)
    nats = _nats(model, hidden[torch.from_numpy(np.concatenate(places)).to(device)], wanted)
    per_row = np.split(nats, np.cumsum([len(row) for row in targets])[:-1])
    return [float(row.sum()) * BITS_PER_NAT for row in per_row]


def _nats(model: LanguageModel, hidden: Tensor, targets: Tensor) -> NDArray[np.float64]:
    """Head 0's negative log-likelihood of each target, ``[n]``; all targets of one format."""
    vocabulary = model.config.vocabulary_size
    ranges: Ranges = [(0, vocabulary)]
    if model.config.normalizes_by_format:
        inside = Region.RAW if int(targets[0]) < Format.COMPRESSED.offset else Region.COMPRESSED
        ranges = inside.ranges(vocabulary)
    scales = torch.ones(len(targets), device=hidden.device)
    weight = model.lm_head.weight[:vocabulary]
    return chunked_cross_entropy(hidden, weight, targets, scales, ranges)[1].double().cpu().numpy()


def _prefix(model: LanguageModel, content_format: Format) -> list[int]:
    return [BOS, content_format.open] if model.config.sentinels else [BOS]


def _ids(
    model: LanguageModel, index: int, content: Content, content_format: Format
) -> NDArray[np.int64]:
    ids = np.asarray(content).astype(np.int64) + content_format.offset
    size = model.config.vocabulary_size
    if ids.size and int(ids.max()) >= size:
        raise UsageError(
            f"document {index}: its {content_format.name.lower()} symbol {int(ids.max())} is not "
            f"in the model's vocabulary of {size}; was the model trained on this view?"
        )
    return ids
