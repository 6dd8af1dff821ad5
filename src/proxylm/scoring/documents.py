"""Scoring many documents one after the other: files, folders, or the documents of a view store.

Gives ``proxylm evaluate bpb`` its rows. Documents are read as they are needed and computed in
groups, so that neither a large folder nor a large store has to fit in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float64

from proxylm.checkpoints.reading import TrainedModel, require_compressor
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.left_out import LeftOut, RejectionReason, nothing_left
from proxylm.corpus.listing import list_folder
from proxylm.corpus.opening import open_corpus
from proxylm.corpus.recognition import FileContent, content_at
from proxylm.data.store.contents import View
from proxylm.data.store.store import ViewStore
from proxylm.errors import DataError, UsageError
from proxylm.files import require_utf8
from proxylm.groups import in_groups
from proxylm.models.config import ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.progress import TellCount, untold
from proxylm.scoring.mixed import MixedText
from proxylm.scoring.passes import symbol_bits
from proxylm.scoring.predictors import OurPredictor, Predictor
from proxylm.scoring.read_as import BYTES, TOKENS
from proxylm.scoring.readings import (
    Ids,
    Reading,
    content_ids,
    prefix_of,
    reading_of,
)
from proxylm.scoring.sequences import ScoredSequence
from proxylm.symbols import Format

Item = TypeVar("Item")

GROUP_BYTES = 1 << 20
"""Raw bytes of the documents that are computed together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadDocument:
    """A document ready to be scored.

    Attributes:
        name: the file, or the document's id.
        num_bytes: its raw size.
        ids: int64 ``[m]``, what the model reads of it (``readings.ReadText``).
        starts: int64 ``[m]``, where that stands among its bytes; None where nobody asks.
        mixed: the document where stretches of it are predicted after symbols; else None.
    """

    name: str
    num_bytes: int
    ids: Ids
    starts: Ids | None = None
    mixed: MixedText | None = None

    def sequences(self, prefix: Ids, context: int, stride: int | None) -> list[ScoredSequence]:
        """What scores all of it, in order: the whole, or each stretch."""
        if self.mixed is None:
            return [ScoredSequence(prefix=prefix, content=self.ids)]
        return list(self.mixed.stretches(0, stride=stride, context=context))


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentScore:
    """What one document costs.

    Attributes:
        name: the file, or the document's id in the store.
        num_bytes: raw bytes, the denominator.
        num_symbols: content symbols in the form it was read in.
        bits: their total.
    """

    name: str
    num_bytes: int
    num_symbols: int
    bits: float

    @property
    def bits_per_byte(self) -> float:
        """Bits of the content symbols per raw byte."""
        return self.bits / self.num_bytes


def total_score(scores: Sequence[DocumentScore], left_out: LeftOut | None = None) -> DocumentScore:
    """Sum of bits over sum of raw bytes (not a mean of the documents' ratios).

    Raises:
        DataError: there is no document, so there is nothing to divide by; says what was left out.
    """
    if not scores:
        raise nothing_left("no document to score", left_out or LeftOut(), "nothing was given")
    return DocumentScore(
        name="total",
        num_bytes=sum(score.num_bytes for score in scores),
        num_symbols=sum(score.num_symbols for score in scores),
        bits=sum(score.bits for score in scores),
    )


def symbol_scores(
    predictor: Predictor,
    documents: Iterable[ReadDocument],
    prefix: Ids,
    *,
    context: int | None = None,
    stride: int | None = None,
    progress: TellCount = untold,
    expected_bytes: int | None = None,
) -> Iterator[tuple[ReadDocument, Float64[np.ndarray, " symbol"]]]:
    """Documents in order, each with the bits of its symbols; see ``passes.symbol_bits``.

    ``stride`` counts bytes where stretches are predicted after symbols (``mixed.STRETCH_BYTES``).
    ``progress`` hears how many raw bytes are scored, of the ``expected_bytes`` of all documents.

    Raises:
        UsageError, DamagedWeightsError, DataError: as ``passes.symbol_bits``.
    """
    size = predictor.context if context is None else context
    tell = _Bytes(progress, expected_bytes)
    for group in in_groups(documents, attrgetter("num_bytes"), GROUP_BYTES):
        sequences = [document.sequences(prefix, size, stride) for document in group]
        windows = None if group[0].mixed else stride  # a stretch has no windows
        given = list(chain.from_iterable(sequences))
        tell.begin(group)
        found = symbol_bits(predictor, given, context=context, stride=windows, progress=tell)
        bits = iter(found)
        for document, own in zip(group, sequences, strict=True):
            yield document, np.concatenate(list(islice(bits, len(own))))


class _Bytes:
    """Tells of the symbols of a group's documents as bytes of all documents."""

    def __init__(self, progress: TellCount, expected: int | None) -> None:
        self._progress, self._expected = progress, expected
        self._before = self._group = 0

    def begin(self, group: Sequence[ReadDocument]) -> None:
        """What is told from now on is of another group."""
        self._before += self._group
        self._group = sum(document.num_bytes for document in group)

    def __call__(self, name: str, done: int, total: int | None) -> None:
        """Tell that so many of the group's symbols are done."""
        done_bytes = self._before + self._group * done // max(1, total or 0)
        self._progress("bytes scored", done_bytes, self._expected)


def score_documents(
    model: LanguageModel,
    documents: Iterable[ReadDocument],
    prefix: Ids,
    *,
    context: int | None = None,
    stride: int | None = None,
    progress: TellCount = untold,
    expected_bytes: int | None = None,
) -> Iterator[DocumentScore]:
    """Score documents in order by a model of ours; the arguments are those of ``symbol_scores``."""
    scores = symbol_scores(
        OurPredictor(model),
        documents,
        prefix,
        context=context,
        stride=stride,
        progress=progress,
        expected_bytes=expected_bytes,
    )
    for document, bits in scores:
        yield DocumentScore(
            name=document.name,
            num_bytes=document.num_bytes,
            num_symbols=len(bits),
            bits=float(bits.sum()),
        )


def find_files(paths: Sequence[Path], left_out: LeftOut) -> tuple[list[Path], Counter[str]]:
    """The files among ``paths`` and below its folders, in a fixed order.

    Links out of a folder and what is no file are counted in ``left_out``.

    Returns:
        The files, and how many names of the folders are skipped by rule (``corpus.listing``).

    Raises:
        UsageError: a path does not exist.
    """
    files: list[Path] = []
    skipped: Counter[str] = Counter()
    for path in paths:
        if path.is_dir():
            listing = list_folder(path)
            skipped.update(listing.skipped)
            for item in listing.entries:
                if isinstance(item, Rejection):
                    left_out.add(replace(item, id=str(path / item.id)))
                else:
                    files.append(Path(item.path))
        elif path.exists():
            files.append(path)
        else:
            raise UsageError(f"{path}: no such file or folder")
    return files, skipped


def read_files(
    files: Iterable[Path],
    reading: Reading,
    *,
    left_out: LeftOut,
    text_field: str = "text",
    max_document_bytes: int | None = None,
) -> Iterator[ReadDocument]:
    """The documents of files: of files of records each record, of others the whole file.

    What has no bytes, or cannot be read as a document, is left out and counted.

    Args:
        files: in order.
        reading: how a document is read.
        left_out: counts what is left out.
        text_field: field of a record that holds its document.
        max_document_bytes: longer records are left out; None is the limit of ``CorpusConfig``.

    Raises:
        DataError: a file cannot be read, or holds records and none with that field.
    """
    for path in files:
        for item in _documents(path, text_field, max_document_bytes):
            if isinstance(item, Rejection):
                left_out.add(item)
            else:
                yield read_document(item.id, item.raw, reading)


def _documents(
    path: Path, text_field: str, max_document_bytes: int | None
) -> Iterator[Document | Rejection]:
    # What a pipe gives can be read once only, so it is not looked into.
    content = content_at(path, path.name) if path.is_file() else FileContent.DOCUMENT
    if content is FileContent.PACKED:
        yield Rejection(id=str(path), reason=RejectionReason.PACKED)
        return
    if content.is_records:
        yield from _records(path, text_field, max_document_bytes)
        return
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if raw:
        yield Document(id=str(path), raw=raw)
    else:
        yield Rejection(id=str(path), reason=RejectionReason.EMPTY)


def _records(
    path: Path, text_field: str, max_document_bytes: int | None
) -> Iterator[Document | Rejection]:
    require_utf8(path)
    config = CorpusConfig(path=str(path), text_field=text_field)
    if max_document_bytes is not None:
        config = config.model_copy(update={"max_document_bytes": max_document_bytes})
    corpus = open_corpus(config)
    documents = 0
    without_text: Rejection | None = None
    for part in corpus.parts():
        for item in corpus.read(part):
            if isinstance(item, Document):
                documents += 1
            elif item.reason == RejectionReason.MISSING_TEXT:
                without_text = item
            yield replace(item, id=str(path.parent / item.id))
    if not documents and without_text is not None:
        raise DataError(
            f"{path}: no record has a field '{text_field}'; name the documents' with --text-field"
        )


def stored_view(store: ViewStore, model: TrainedModel, read_as: str) -> str | None:
    """The view of a store that ``--read-as`` means, by its name; None for bytes.

    ``read_as`` is ``bytes``, ``tokens`` for the view of the model's compressor, or a view's name.

    Raises:
        UsageError: there is no such view, or several are ``tokens`` and none is named.
    """
    if read_as == BYTES:
        return None
    if read_as != TOKENS:
        return store.view(read_as).name
    known = model.compressor_fingerprint
    views = [view for view in map(store.view, store.view_names) if view.reversible]
    own = [view.name for view in views if known in (None, view.compressor_fingerprint)]
    if len(own) != 1:
        there = f"has several views: name one of {', '.join(own)}" if own else "has no view of it"
        raise UsageError(f"--read-as tokens: of the model's compressor, {store.folder} {there}")
    return own[0]


def read_from_store(
    store: ViewStore, ordinals: Iterable[int], model: TrainedModel, view_name: str | None
) -> tuple[Ids, Iterator[ReadDocument]]:
    """Documents of a store as the symbols that one of its views holds; None reads their bytes.

    Returns:
        What the model reads before every document, and the documents.

    Raises:
        UsageError: the view is lossy, so bits per byte is not defined for it; its compressor is
            not the model's; or the model has no bytes.
    """
    if view_name is None:
        reading = reading_of(model)
        return reading.prefix, read_store(store, ordinals, reading)
    view = store.view(view_name)
    if not view.reversible:
        raise UsageError(
            f"bits per byte is not defined for view '{view_name}' of {store.folder}: it is lossy, "
            "its symbols do not determine the bytes"
        )
    require_compressor(model, view.symbol_count, view.compressor_fingerprint)
    config = model.module.config
    prefix = prefix_of(Format.COMPRESSED, sentinels=config.sentinels)
    return prefix, _read_view(store, view, ordinals, config)


def _read_view(
    store: ViewStore, view: View, ordinals: Iterable[int], config: ModelConfig
) -> Iterator[ReadDocument]:
    for ordinal in ordinals:
        name, symbols = store.document_id(ordinal), view.symbols(ordinal)
        yield ReadDocument(
            name=name,
            num_bytes=int(store.raw_lengths[ordinal]),
            ids=content_ids(config, symbols, Format.COMPRESSED, name=name),
        )


def read_store(
    store: ViewStore, ordinals: Iterable[int], reading: Reading
) -> Iterator[ReadDocument]:
    """Documents of a store, read from their raw bytes."""
    for ordinal in ordinals:
        yield read_document(store.document_id(ordinal), store.raw(ordinal).tobytes(), reading)


def first_documents(
    documents: Iterable[ReadDocument],
    *,
    limit_documents: int | None = None,
    limit_bytes: int | None = None,
) -> Iterator[ReadDocument]:
    """Whole documents until there are so many, or so many raw bytes are reached (at least one)."""
    return _first(documents, attrgetter("num_bytes"), limit_documents, limit_bytes)


def expected_bytes(
    sizes: Iterable[int], *, limit_documents: int | None = None, limit_bytes: int | None = None
) -> int:
    """Raw bytes that ``first_documents`` takes of documents of these sizes.

    >>> expected_bytes([4, 5, 6], limit_bytes=8)
    9
    """
    return sum(_first(sizes, int, limit_documents, limit_bytes))


def expected_of_files(
    files: Sequence[Path], *, limit_documents: int | None = None, limit_bytes: int | None = None
) -> int | None:
    """``expected_bytes`` of files; None where only reading tells: of pipes and of records."""
    with suppress(OSError, DataError):  # whoever reads them says what is wrong
        if all(path.is_file() and not content_at(path, path.name).is_records for path in files):
            sizes = [path.stat().st_size for path in files]
            return expected_bytes(sizes, limit_documents=limit_documents, limit_bytes=limit_bytes)
    return limit_bytes


def _first(
    items: Iterable[Item],
    size_of: Callable[[Item], int],
    limit_items: int | None,
    limit_bytes: int | None,
) -> Iterator[Item]:
    seen = 0
    for count, item in enumerate(items, start=1):
        yield item
        seen += size_of(item)
        if count == limit_items or (limit_bytes is not None and seen >= limit_bytes):
            return


def read_document(name: str, raw: bytes, reading: Reading) -> ReadDocument:
    """A document as it is read.

    Raises:
        DataError: it is empty, so there is nothing to divide bits by, or cannot be read so.
    """
    if not raw:
        raise DataError(f"{name} is empty: bits per byte has nothing to divide by")
    try:
        ids, starts = reading.read(raw)
        mixed = reading.mixed(raw)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    return ReadDocument(name=name, num_bytes=len(raw), ids=ids, starts=starts, mixed=mixed)
