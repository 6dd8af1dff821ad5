"""The one contract of all corpora: parts, and the documents of each part in a fixed order.

A corpus is divided into parts that depend on its content and options only, never on how many
workers read it; one part becomes one shard of the view store. Objects pickle cheaply, so that
a worker can be handed the corpus and one part.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.left_out import LeftOut
from proxylm.progress import TellCount, untold


@dataclass(frozen=True, kw_only=True)
class CorpusPart:
    """A piece of a corpus that one worker reads on its own; readers add their own locators.

    Attributes:
        index: position among the corpus's parts, from 0.
        num_bytes: stored bytes of the part (compressed ones where the source is compressed),
            for progress only.
    """

    index: int
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class RangePart(CorpusPart):
    """Items ``[first, stop)`` of the corpus: files, rows, documents."""

    first: int
    stop: int


def ranges_of(sizes: Sequence[int], part_bytes: int) -> Iterator[tuple[int, int, int]]:
    """Consecutive items in ranges that close as soon as they reach ``part_bytes``.

    >>> list(ranges_of([2, 3, 1], part_bytes=4))
    [(0, 2, 5), (2, 3, 1)]

    Args:
        sizes: bytes of each item.
        part_bytes: what a range holds at least, except for the last one.

    Yields:
        ``(first, stop, num_bytes)`` of each range.
    """
    first = num_bytes = 0
    for stop, size in enumerate(sizes, start=1):
        num_bytes += size
        if num_bytes >= part_bytes or stop == len(sizes):
            yield first, stop, num_bytes
            first, num_bytes = stop, 0


def range_parts(sizes: Sequence[int], part_bytes: int) -> list[RangePart]:
    """Parts of a corpus whose items have these sizes in bytes."""
    return [
        RangePart(index=index, num_bytes=num_bytes, first=first, stop=stop)
        for index, (first, stop, num_bytes) in enumerate(ranges_of(sizes, part_bytes))
    ]


class Corpus(ABC):
    """Base of all corpora.

    Attributes:
        name: readable, for messages and manifests.
        given_symbol_count: K, when the documents come with symbols of a foreign compressor.
        skipped: how many names of its folder are skipped by rule (``listing.HIDDEN`` and the
            like); what is lost of its documents are rejections.
    """

    name: str
    given_symbol_count: int | None = None
    skipped: Mapping[str, int] = MappingProxyType({})

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """128-bit name of the content and of the options that decide what is read from it."""

    @abstractmethod
    def parts(self) -> Sequence[CorpusPart]:
        """The parts in order; the same on every machine and for any number of workers."""

    @abstractmethod
    def read(self, part: CorpusPart) -> Iterator[Document | Rejection]:
        """What one part holds, in a fixed order.

        Raises:
            DataError: a file is damaged, or is not what it was when the corpus was opened.
        """

    def documents(
        self, left_out: LeftOut | None = None, progress: TellCount = untold
    ) -> Iterator[Document]:
        """All documents of the corpus in order; the rejected ones are counted in ``left_out``.

        ``progress`` hears how many bytes of the corpus are read.
        """
        parts = self.parts()
        done, total = 0, sum(part.num_bytes for part in parts)
        for part in parts:
            within = 0
            for item in self.read(part):
                progress("bytes read", done + min(within, part.num_bytes), total)
                if isinstance(item, Document):
                    within += len(item.raw)
                    yield item
                elif left_out is not None:
                    left_out.add(item)
            done += part.num_bytes
        progress("bytes read", total, total)

    def describe(self) -> dict[str, Any]:
        """Facts for a manifest: plain JSON values; readers add their own."""
        parts, files = self.parts(), self.listing()
        facts = {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "parts": len(parts),
            "num_bytes": sum(part.num_bytes for part in parts),
        }
        skipped = {"skipped": dict(self.skipped)} if self.skipped else {}
        return skipped | facts | ({"files": len(files)} if files else {})

    def listing(self) -> list[dict[str, Any]]:
        """The files read, in order: ``name``, ``num_bytes`` and ``xxh3_128`` of the content."""
        return []


class ConfiguredCorpus(Corpus):
    """Base of the corpora that a configuration names: what it says of reading, at hand.

    Args:
        config: its path, which is the name, its fields and part size count here.
    """

    def __init__(self, config: CorpusConfig) -> None:
        self.name = config.path
        self.given_symbol_count = config.symbol_count
        self._config = config
        self._fields = config.fields
