"""``proxylm.score``: bits per byte of documents, by our models or by any other.

Definition (method, section 9): the bits ``-log2 p`` of a document's *content* symbols (neither
sentinels nor ``<eos>``) given the reading's prefix: ``<bos> <raw>``, or ``<bos> <compressed>``, or
``<bos>`` alone for a model without sentinels. Each document is read alone from offset 0, a longer
one by strided windows (``models.scoring_windows``). Bits are divided by the number of the
document's **raw** bytes, whatever it is read as. ``p`` is head 0's probability as it was trained
(``predictors.OurPredictor``), or the softmax of any other model's logits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from proxylm.checkpoints.checkpoint import Origin
from proxylm.checkpoints.reading import LoadedModel, TrainedModel, load_module
from proxylm.checkpoints.run_data import compressor_of
from proxylm.compressors.contract import Compressor
from proxylm.corpus.contract import Corpus
from proxylm.corpus.left_out import LeftOut
from proxylm.corpus.opening import Documents, as_corpus
from proxylm.errors import DataError, UsageError
from proxylm.inputs import as_documents, items_of
from proxylm.models.language_model import LanguageModel
from proxylm.scoring.documents import read_document, symbol_scores
from proxylm.scoring.predictors import LogitsFunction, LogitsPredictor, OurPredictor
from proxylm.scoring.read_as import BYTES, MIXED, TOKENS
from proxylm.scoring.readings import CompressedReading, RawReading, Reading, reading_of
from proxylm.scoring.tokenizer_readings import tokenizer_reading

ScoredModel = LanguageModel | TrainedModel | str | os.PathLike[str] | LogitsFunction


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Scores:
    """What documents cost a model; units are bits.

    Attributes:
        names: of the documents.
        num_bytes: int64 ``[n]``, raw bytes of each.
        num_symbols: int64 ``[n]``, content symbols of each as it was read.
        per_byte: for each document float64 ``[bytes]``: the bits of what begins at that byte.
            A symbol of several bytes counts whole on its first, and its other bytes have 0; where
            only several symbols together are known to stand for some bytes, all count on the
            first of these. So the sums over bytes are the documents' bits.
        read_as: ``bytes``, ``tokens``, ``mixed``, or the tokenizer's name.
        context: most symbols that a forward pass read.
        left_out: documents of a corpus that were not scored, by reason.
    """

    names: list[str]
    num_bytes: Int64[np.ndarray, " document"]
    num_symbols: Int64[np.ndarray, " document"]
    per_byte: list[Float64[np.ndarray, " byte"]]
    read_as: str
    context: int
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def bits(self) -> Float64[np.ndarray, " document"]:
        """Bits of each document, float64 ``[n]``."""
        return np.array([one.sum() for one in self.per_byte], dtype=np.float64)

    @property
    def per_document(self) -> Float64[np.ndarray, " document"]:
        """Bits per raw byte of each document, float64 ``[n]``."""
        return self.bits / self.num_bytes

    @property
    def bits_per_byte(self) -> float:
        """All bits over all raw bytes (not a mean of the documents' ratios).

        Raises:
            DataError: there is no document, so there is nothing to divide by.
        """
        if not self.names:
            raise DataError("no document was scored: bits per byte has nothing to divide by")
        return float(self.bits.sum() / self.num_bytes.sum())

    def __repr__(self) -> str:
        found = f": {self.bits_per_byte:.4f} bits per byte" if self.names else ""
        size = f"{len(self.names)} documents, {self.num_bytes.sum()} bytes"
        return f"Scores({size}, read as {self.read_as}{found})"


def score(
    model: ScoredModel,
    documents: Documents,
    read_as: str | Compressor | Reading | Any = BYTES,
    *,
    context: int | None = None,
    stride: int | None = None,
) -> Scores:
    """Bits per byte of documents, in total, of each, and byte by byte.

    >>> from proxylm.models.language_model import LanguageModel
    >>> from proxylm.models.presets import preset
    >>> model = LanguageModel(preset("demo", vocabulary_size=320), seed=0)
    >>> scores = score(model, [b"to be", b"or not to be"])
    >>> scores.bits_per_byte.__round__(), [len(bits) for bits in scores.per_byte]
    (8, [5, 12])

    Args:
        model: one of ours, as a ``LanguageModel``, what ``proxylm.load`` gives, or its folder;
            or any other callable from ids int64 ``[B, N]`` (torch) to logits ``[B, N, V]`` (torch
            or numpy), as they are or under ``.logits``, as a ``transformers`` model gives them.
            Modules are evaluated without gradients and left in the mode they were in.
        documents: bytes, or pairs of a name and bytes; a file, a folder or what else
            ``open_corpus`` takes; or an open corpus. None is empty.
        read_as: ``bytes`` in our layout of symbols (``proxylm.symbols``; ``<bos> <raw>`` comes
            first, or ``<bos>`` for a model of ours without sentinels); ``tokens``, the symbols of
            the compressor that a run was trained with; ``mixed``, stretches of bytes after the
            symbols of all before (``scoring.mixed``); another compressor, whose symbols lie as in
            our layout; a ``transformers`` or ``tiktoken`` tokenizer; or any ``Reading``
            (``scoring.tokenizer_readings.OwnReading`` makes one of a function).
        context: most symbols of a forward pass; None takes the model's training context, and for
            models that are not ours 2048, or fewer where their configuration says so.
        stride: symbols that each further window of a longer document scores; None takes half of
            the context. Read mixed: bytes of a stretch; None takes 256, or what fits.

    Returns:
        The scores, in the order of the documents.

    Raises:
        UsageError: a document is no bytes; a wrong context or stride; a way to read that the
            model does not have, or ids outside its vocabulary; or it gives no logits.
        DataError: a document is empty, or cannot be read so; or the bits are no numbers.
        CheckpointError: the model's folder cannot be loaded, or its weights are damaged.
    """
    ours = _ours(model)
    predictor = OurPredictor(ours.module) if ours else LogitsPredictor(model)  # type: ignore[arg-type]
    reading = _reading(model, ours, read_as)
    left_out = LeftOut()
    names, num_bytes, num_symbols, per_byte = [], [], [], []
    read = (read_document(name, raw, reading) for name, raw in _named(documents, left_out))
    found = symbol_scores(predictor, read, reading.prefix, context=context, stride=stride)
    for document, bits in found:
        names.append(document.name)
        num_bytes.append(document.num_bytes)
        num_symbols.append(len(bits))
        assert document.starts is not None, "read_document knows them"
        per_byte.append(np.bincount(document.starts, bits, minlength=document.num_bytes))
    return Scores(
        names=names,
        num_bytes=np.array(num_bytes, dtype=np.int64),
        num_symbols=np.array(num_symbols, dtype=np.int64),
        per_byte=per_byte,
        read_as=reading.name,
        context=context or predictor.context,
        left_out=left_out.to_json(),
    )


def _ours(model: ScoredModel) -> TrainedModel | None:
    """The model with what is known of it, if it is one of ours."""
    if isinstance(model, str | os.PathLike):
        return load_module(Path(model))
    if isinstance(model, LanguageModel):
        return LoadedModel(module=model, origin=Origin())
    # ``ByteModel`` belongs to a room above: it is known by the model that it wraps.
    if isinstance(getattr(model, "module", None), LanguageModel):
        return model  # type: ignore[return-value]
    if not callable(model):
        raise UsageError(
            f"model: {type(model).__name__} is neither a model of proxylm, nor the folder of one, "
            "nor a callable that gives logits for ids"
        )
    return None


def _reading(model: ScoredModel, ours: TrainedModel | None, read_as: Any) -> Reading:
    if isinstance(read_as, Reading):
        return read_as
    if not isinstance(read_as, str | Compressor):
        return tokenizer_reading(read_as)
    if ours is not None:
        is_path = isinstance(model, str | os.PathLike)
        folder: Any = model if is_path else getattr(model, "folder", None)
        knows = folder is not None and read_as in (TOKENS, MIXED)
        return reading_of(ours, read_as, compressor_of(Path(folder)) if knows else None)
    if isinstance(read_as, Compressor):
        return CompressedReading(read_as)
    if read_as == BYTES:
        return RawReading()
    raise UsageError(f"read_as {read_as!r}: give the tokenizer of a model that is not ours")


def _named(documents: Documents, left_out: LeftOut) -> Iterator[tuple[str, bytes]]:
    """Documents with their names; of a corpus, what is no document is counted."""
    if isinstance(documents, str | os.PathLike | Corpus):
        yield from ((one.id, one.raw) for one in as_corpus(documents).documents(left_out))
        return
    pairs = [
        one if isinstance(one, tuple) and len(one) == 2 else (f"document {index}", one)
        for index, one in enumerate(items_of(documents, "documents"))
    ]
    for (name, _), raw in zip(pairs, as_documents([raw for _, raw in pairs]), strict=True):
        yield str(name), raw
