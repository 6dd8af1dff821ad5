"""What was left out on the way, counted by reason, with a first example and what helps.

The reasons are one closed list of slugs.

Whoever reads a corpus passes one ``LeftOut`` down and reports it at the end, so that no reason is
lost between the reader that finds it and the person who can do something about it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from proxylm.corpus.document import Rejection
from proxylm.errors import DataError
from proxylm.printable import printable


class RejectionReason(StrEnum):
    """The reasons that readers give, and the one of compressors."""

    EMPTY = "empty"
    """No bytes at all (an empty file, an empty text field, a blank line)."""
    TOO_LONG = "too_long"
    """Longer than ``max_document_bytes``; skipped in bounded memory."""
    INVALID_UTF8 = "invalid_utf8"
    """A JSON line that is not UTF-8, or any text that is not where ``invalid_utf8: reject``."""
    LONE_SURROGATE = "lone_surrogate"
    """A JSON string with an unpaired surrogate escape: it has no bytes."""
    INVALID_JSON = "invalid_json"
    """A line that is not one JSON object."""
    TOO_DEEP = "too_deep"
    """A JSON line nested deeper than the parser goes."""
    DUPLICATE_KEY = "duplicate_key"
    """A field that is read stands twice in one object: which one is meant is unknown."""
    MISSING_TEXT = "missing_text"
    """The text field is absent or null."""
    WRONG_TEXT_TYPE = "wrong_text_type"
    """The text field is not a string."""
    BAD_SYMBOLS = "bad_symbols"
    """The symbols that should come with the document are absent or outside ``[0, K)``."""
    LINK = "link"
    """A symbolic link, also to a folder, that leads out of the corpus, or nowhere."""
    PACKED = "packed"
    """Compressed or an archive, and without records that can be read: no document as it is."""
    NOT_A_FILE = "not_a_file"
    """A device, socket or pipe."""
    CANNOT_COMPRESS = "cannot_compress"
    """A compressor has no exact form for the document."""


REMEDIES: dict[str, str] = {
    RejectionReason.TOO_LONG: "raise max_document_bytes (--max-document-bytes)",
    RejectionReason.INVALID_UTF8: (
        "JSON lines have to be UTF-8; files and tables are kept with invalid_utf8 keep "
        "(--invalid-utf8)"
    ),
    RejectionReason.INVALID_JSON: (
        "each line has to be one JSON object; jq -c '.[]' makes lines of an array"
    ),
    RejectionReason.MISSING_TEXT: "name the documents' field with text_field (--text-field)",
    RejectionReason.WRONG_TEXT_TYPE: "name the documents' field with text_field (--text-field)",
    RejectionReason.BAD_SYMBOLS: (
        "symbols_field (--symbols-field) and symbol_count (--symbol-count) have to fit them"
    ),
    RejectionReason.PACKED: (
        "unpack it, or read its bytes as they are with files documents (--files)"
    ),
    RejectionReason.LINK: "copy into the folder what the link leads to",
}
"""What helps, by reason: the setting of ``CorpusConfig`` and the option that commands give it."""


@dataclass(slots=True)
class LeftOut:
    """Documents that were left out.

    Attributes:
        counts: how many, by reason.
        examples: the first one of each reason: its id, perhaps with a detail.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, rejection: Rejection) -> None:
        """Count one document."""
        self.counts[str(rejection.reason)] += 1
        example = f"{rejection.id}: {rejection.detail}" if rejection.detail else rejection.id
        self.examples.setdefault(str(rejection.reason), example)

    def update(self, later: LeftOut) -> None:
        """Add what was left out of documents that follow."""
        self.counts.update(later.counts)
        self.examples = later.examples | self.examples

    def __bool__(self) -> bool:
        return bool(self.counts)

    def to_json(self) -> dict[str, int]:
        """The counts in a fixed order."""
        return dict(sorted(self.counts.items()))

    def lines(self) -> list[str]:
        """One line per reason, in a fixed order.

        >>> found = LeftOut()
        >>> found.add(Rejection(id="a.txt", reason="empty"))
        >>> found.lines()
        ['1 empty (first: a.txt)']
        """
        return [
            f"{count} {reason} (first: {printable(self.examples[reason])})"
            + (f": {REMEDIES[reason]}" if reason in REMEDIES else "")
            for reason, count in self.to_json().items()
        ]

    def __str__(self) -> str:
        return "; ".join(self.lines())


def nothing_left(what: str, left_out: LeftOut, otherwise: str) -> DataError:
    """The error of a command that was left with nothing to do.

    Args:
        what: what there is none of, with its place.
        left_out: what was there and was left out.
        otherwise: what helps where nothing was left out.
    """
    return DataError(f"{what}; {f'left out: {left_out}' if left_out else otherwise}")
