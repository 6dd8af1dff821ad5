"""Documents on their way into a store, with their views and what was left out among them."""

from __future__ import annotations

from dataclasses import dataclass, field

from proxylm.compressors.contract import CompressedView
from proxylm.corpus.document import Document
from proxylm.corpus.left_out import LeftOut


@dataclass(slots=True, kw_only=True)
class DocumentGroup:
    """Some documents of one part, in order; all of a part are a shard.

    Attributes:
        documents: those that every view can represent.
        views: for each view by name, its form of each of the documents.
        left_out: counts the others.
    """

    documents: list[Document] = field(default_factory=list)
    views: dict[str, list[CompressedView]] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)

    def extend(self, later: DocumentGroup) -> None:
        """Append the documents that follow."""
        self.documents += later.documents
        for name, views in later.views.items():
            self.views.setdefault(name, []).extend(views)
        self.left_out.update(later.left_out)
