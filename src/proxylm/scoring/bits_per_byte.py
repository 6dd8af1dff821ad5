"""Bits per byte: how well a model predicts documents, per byte of their raw form.

Definition (method, section 9): the bits ``-log2 p`` of a document's *content* symbols (neither
sentinels nor ``<eos>``) given ``<bos> <raw>`` (or ``<bos> <compressed>``; ``<bos>`` alone for a
model without sentinels), each document alone from offset 0, longer ones by strided windows
(``models.scoring_windows``); divided by the number of the document's **raw** bytes, whatever it is
read as. ``p`` is head 0's probability as it was trained: a softmax over the whole vocabulary, or
with ``softmax: by_format`` over what can follow inside that format.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proxylm.errors import DataError, UsageError
from proxylm.inputs import as_documents, as_symbols, require_whole
from proxylm.models.language_model import LanguageModel
from proxylm.models.scoring_windows import window_span
from proxylm.scoring.passes import DEFAULT_BATCH_SYMBOLS, ScoredSequence, sequence_bits
from proxylm.scoring.readings import Content, Reading, prefix_of
from proxylm.symbols import BYTE_COUNT, Format


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
        batch_symbols: input symbols of the passes computed at a time; a matter of speed alone.

    Returns:
        One number per document, in order.

    Raises:
        UsageError: a document is no bytes, impossible context or stride, or symbols that the model
            does not have.
        DataError: a document is empty, so there is nothing to divide by.
    """
    documents = as_documents(documents)
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

    Raises:
        UsageError: contents are no symbols that the model has in this format, or as above.
    """
    for name, size in (("context", context), ("stride", stride)):
        if size is not None:
            require_whole(name, size)
    if content_format is Format.RAW:
        model.config.require_raw_bytes()
    else:
        model.config.require_compressed_symbols()
    prefix = prefix_of(model, content_format)
    sequences = [
        ScoredSequence(prefix=prefix, content=_ids(model, index, content, content_format))
        for index, content in enumerate(contents)
    ]
    # Also where there is no content: a context that cannot hold the prefix is refused.
    window_span(model.config.context if context is None else context, len(prefix))
    return sequence_bits(
        model, sequences, context=context, stride=stride, batch_symbols=batch_symbols
    )


def _ids(
    model: LanguageModel, index: int, content: Content, content_format: Format
) -> NDArray[np.int64]:
    offset, size = content_format.offset, model.config.vocabulary_size
    # Of bytes no more than there are: the next ids mean a compressor's symbols.
    end = BYTE_COUNT if content_format is Format.RAW else size - offset
    try:
        return as_symbols(content, end).astype(np.int64) + offset
    except ValueError as error:
        raise UsageError(
            f"document {index}: its {content_format.name.lower()} {error}, which is what the "
            f"model's vocabulary of {size} has; was the model trained on this view?"
        ) from None
