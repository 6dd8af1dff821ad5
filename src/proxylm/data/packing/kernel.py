"""The packing kernel: documents, one after the other, become spans of contexts.

What it computes is said in plain Python by ``data.packing.definition``; this form reads lengths
and anchors only, never content, and is a pure function of where it starts. It can be sent over any
window of contexts from any earlier state, and writes that window's spans.

Records (``data.packing.spans``) and units:

- ``Rules``, ``Draws``: a mixture as numbers; they do not change while packing.
- ``DrawnDocument``: one document of one source: its ordinal, its epoch, its length in bytes and
  in symbols.
- ``Stretch``: a run of one format of it, ``[start, end)`` in bytes or symbols of that view.
- span: what of a stretch stands in one context, ``offset`` and ``length`` in positions.
- ``page.cursor`` int64 ``[TAKEN + sources]``: where the next symbol goes (``CONTEXT``, ``OFFSET``,
  ``SEGMENT``, ``POSITION``), how many documents have been drawn (``DRAWN``; of each source:
  ``TAKEN + source``) and how many spans the window holds (``SPAN_COUNT``).
- boundary: where a document may be cut: ``anchors`` uint32 ``[2 a]`` holds (byte, symbol) in
  turn; boundary ``b`` below ``a`` is that anchor, boundary ``a`` is the document's end.
- part: ``(byte, end_byte, symbol, end_symbol)``, the same stretch of text in both views.

Documents are laid at a cursor that walks through the contexts. A document's *attention segment*
starts at its ``<bos>``; at a context's end the rest goes on as the overflow policy says. A new
document is not begun where fewer than ``MINIMUM_CONTENT`` symbols of it would fit: that room is
padding, a segment of its own that trains nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proxylm.compiled import Int64, Uint64
from proxylm.data.packing.compiled import compiled, inlined
from proxylm.data.packing.counter import Purpose, absorb, permuted, uniform
from proxylm.data.packing.lanes import step_of
from proxylm.data.packing.pointers import borrowed
from proxylm.data.packing.spans import (
    COMPRESSED,
    CONTEXT,
    DRAWN,
    DRAWN_AHEAD,
    HAS_BOS,
    HAS_CLOSE,
    HAS_EOS,
    HAS_OPEN,
    MINIMUM_CONTENT,
    OFFSET,
    PADDING,
    PAIR_MEETS,
    POSITION,
    RAW,
    SECOND_VIEW,
    SEGMENT,
    SPAN_COUNT,
    STARTS_DOCUMENT,
    STARTS_PAIR,
    TAKEN,
    Ahead,
    DrawnDocument,
    Draws,
    Page,
    PieceDraws,
    Rules,
    Stretch,
)
from proxylm.data.packing.tables import Tables, anchors_of

_DOCUMENT_ORDER, _DOCUMENT_VIEW = int(Purpose.DOCUMENT_ORDER), int(Purpose.DOCUMENT_VIEW)
_PAIR_ORDER, _SOURCE = int(Purpose.PAIR_ORDER), int(Purpose.SOURCE)
_PIECE_LENGTH, _PIECE_FORMAT = int(Purpose.PIECE_LENGTH), int(Purpose.PIECE_FORMAT)


@compiled
def pack(rules: Rules, draws: Draws, tables: Tables, ahead: Ahead, page: Page) -> bool:
    """Lay documents until the window's end; True if the data ended before it.

    Afterwards the cursor stands where packing has to go on for the next window: at the start of
    the document that crosses the window's end, which is then laid again from its beginning.
    """
    # Without this each mention of an array of theirs counts a reference up and down.
    draws, tables = borrowed(draws), borrowed(tables)
    ahead, page = borrowed(ahead), borrowed(page)
    cursor = page.cursor
    start_room = 1 + rules.sentinels + MINIMUM_CONTENT
    while cursor[CONTEXT] < page.end:
        # With the plain policy a document may begin in any room: nothing comes again after a cut.
        if (rules.rewraps or rules.truncates) and rules.context - cursor[OFFSET] < start_room:
            pad(rules, page)
            continue
        source = draw_source(draws, cursor[DRAWN])
        draw = cursor[TAKEN + source]
        if rules.stops and draw >= tables.sources[source].num_documents:
            if cursor[OFFSET] > 0:
                pad(rules, page)  # the last context begun counts as a whole one
            return True
        # POSITION need not be kept: the document's <bos> sets it anew.
        context, offset, segment = cursor[CONTEXT], cursor[OFFSET], cursor[SEGMENT]
        document = draw_document(draws, tables, ahead, source, draw)
        lay_document(rules, draws, tables, page, document)
        if cursor[CONTEXT] >= page.end:
            cursor[CONTEXT], cursor[OFFSET], cursor[SEGMENT] = context, offset, segment
            break
        cursor[DRAWN] += 1
        cursor[TAKEN + source] += 1
    return False


@inlined
def draw_source(draws: Draws, number: int) -> int:
    """The source of the document drawn after ``number`` others, by the sources' probabilities."""
    last = len(draws.source_below) - 1
    if last == 0:
        return 0  # the usual case costs no draw
    # Which source it is cannot be part of the key: the keys of source 0 stand for all.
    value = uniform(absorb(draws.keys[_SOURCE, 0], np.uint64(number)))
    source = 0
    while source < last and value >= draws.source_below[source]:
        source += 1
    return source


@inlined
def draw_document(
    draws: Draws, tables: Tables, ahead: Ahead, source: int, draw: int
) -> DrawnDocument:
    """The document that a source gives after ``draw`` others."""
    if ahead.group[source] != draw // DRAWN_AHEAD:
        draw_ahead(draws, tables, ahead, source, draw // DRAWN_AHEAD)
    drawn = ahead.documents[source, draw % DRAWN_AHEAD]
    return DrawnDocument(
        source, drawn.ordinal, draw, drawn.epoch, drawn.num_bytes, drawn.num_symbols
    )


@compiled
def draw_ahead(draws: Draws, tables: Tables, ahead: Ahead, source: int, group: int) -> None:
    """Fetch a group of a source's next documents: its epochs' permutations say which.

    One after the other, the random reads of ``tables.documents`` overlap; each alone would wait
    for memory.
    """
    entry = tables.sources[source]
    count = entry.num_documents
    for index in range(DRAWN_AHEAD):
        draw = group * DRAWN_AHEAD + index
        epoch = draw // count
        order = absorb(draws.keys[_DOCUMENT_ORDER, source], np.uint64(epoch))
        place = permuted(draw - epoch * count, count, order)
        document = tables.documents[entry.first_document + place]
        drawn = ahead.documents[source, index]
        drawn.ordinal, drawn.epoch = document.ordinal, epoch
        drawn.num_bytes, drawn.num_symbols = document.num_bytes, document.num_symbols
    ahead.group[source] = group


@inlined
def draw_for(draws: Draws, purpose: int, document: DrawnDocument) -> Uint64:
    """The state of a document's draws of one purpose."""
    state = absorb(draws.keys[purpose, document.source], np.uint64(document.epoch))
    return absorb(state, np.uint64(document.ordinal))


@inlined
def lay_document(
    rules: Rules, draws: Draws, tables: Tables, page: Page, document: DrawnDocument
) -> None:
    """Choose the view, or views, of a document at the rate of its context's step, and lay it."""
    step = step_of(draws, rules.contexts_per_step, page.cursor[CONTEXT])
    below = float(draws.compressed_below[step])
    if rules.piece_max > 0:
        lengths, formats = (
            draw_for(draws, _PIECE_LENGTH, document),
            draw_for(draws, _PIECE_FORMAT, document),
        )
        lay_pieces(rules, tables, page, document, PieceDraws(lengths, formats, below))
        return
    # One draw decides among three: compressed, then a pair, then raw, by two thresholds.
    value = uniform(draw_for(draws, _DOCUMENT_VIEW, document))
    if value >= below and value < draws.pair_below[step]:
        order = uniform(draw_for(draws, _PAIR_ORDER, document))
        lay_pair(
            rules, tables, page, document, COMPRESSED if order < rules.compressed_first else RAW
        )
        return
    view = COMPRESSED if value < below else RAW
    length = document.num_symbols if value < below else document.num_bytes
    lay(
        rules,
        page,
        document,
        Stretch(view, 0, length, document.num_bytes, True, True, 1, STARTS_DOCUMENT),
    )


@compiled
def lay_pair(
    rules: Rules, tables: Tables, page: Page, document: DrawnDocument, first_format: int
) -> None:
    """Lay both views of a document, whole or in parts that each fit into one context."""
    if not rules.splits_pairs:
        whole = (0, document.num_bytes, 0, document.num_symbols)
        lay_part(rules, page, document, first_format, whole, True, True)
        return
    anchors = anchors_of(tables, document.source, document.ordinal)
    last = len(anchors) // 2  # this boundary is the document's end
    boundary, byte, symbol = 0, 0, 0  # the first boundary not yet reached; where the part starts
    while boundary <= last:
        reach = furthest_fitting(rules, page, document, anchors, boundary, byte + symbol)
        if reach < boundary:
            if page.cursor[OFFSET] > 0:
                pad(rules, page)
                continue
            # Not even one gap between anchors fits into a context: its end cuts it.
            reach = boundary
        end_byte, end_symbol = boundary_at(document, anchors, reach)
        part = (byte, end_byte, symbol, end_symbol)
        if not lay_part(rules, page, document, first_format, part, boundary == 0, reach == last):
            return
        boundary, byte, symbol = reach + 1, end_byte, end_symbol


@compiled
def furthest_fitting(
    rules: Rules,
    page: Page,
    document: DrawnDocument,
    anchors: NDArray[np.uint32],
    boundary: int,
    start: int,
) -> int:
    """The last boundary up to which both views fit into the context; ``boundary - 1`` if none.

    ``start`` is the sum of the part's first byte and first symbol.
    """
    # A part has a <bos> and two sentinels around each view; its end may also need an <eos>.
    room = rules.context - page.cursor[OFFSET] - 1 - 4 * rules.sentinels
    last = len(anchors) // 2
    if document.num_bytes + document.num_symbols - start + 1 <= room:
        return last
    # Anchors rise in both columns: the first that does not fit ends the search.
    reach = boundary
    while reach < last:
        byte, symbol = boundary_at(document, anchors, reach)
        if byte + symbol - start > room:
            break
        reach += 1
    return reach - 1


@inlined
def boundary_at(
    document: DrawnDocument, anchors: NDArray[np.uint32], boundary: int
) -> tuple[Int64, Int64]:
    """(byte, symbol) of the anchor with that number; past the last one, the document's end."""
    if 2 * boundary >= len(anchors):
        return np.int64(document.num_bytes), np.int64(document.num_symbols)
    return np.int64(anchors[2 * boundary]), np.int64(anchors[2 * boundary + 1])


@compiled
def lay_part(
    rules: Rules,
    page: Page,
    document: DrawnDocument,
    first_format: int,
    part: tuple[int, int, int, int],
    is_first: bool,
    is_last: bool,
) -> bool:
    """Lay the two views of one part (byte range, symbol range); False if it was truncated."""
    byte, end_byte, symbol, end_symbol = part
    num_bytes, num_symbols = end_byte - byte, end_symbol - symbol
    # The parts of a split pair are one document's two views: only the first part counts them.
    views = 1 if is_first else 0
    marks = STARTS_PAIR | (STARTS_DOCUMENT if is_first else 0)
    # Without the last two closing symbols: a context's end may take those.
    size = 1 + 3 * rules.sentinels + num_bytes + num_symbols
    if size <= rules.context - page.cursor[OFFSET]:
        marks |= PAIR_MEETS
    # Whichever view comes first stands for the part's bytes; the second shows them again.
    if first_format == RAW:
        first = Stretch(RAW, byte, end_byte, num_bytes, True, False, views, marks)
        second = Stretch(COMPRESSED, symbol, end_symbol, 0, False, is_last, views, SECOND_VIEW)
    else:
        first = Stretch(COMPRESSED, symbol, end_symbol, num_bytes, True, False, views, marks)
        second = Stretch(RAW, byte, end_byte, 0, False, is_last, views, SECOND_VIEW)
    return lay(rules, page, document, first) and lay(rules, page, document, second)


@compiled
def lay_pieces(
    rules: Rules, tables: Tables, page: Page, document: DrawnDocument, draws: PieceDraws
) -> None:
    """Lay a document cut at anchors into pieces; neighbours of one format join into a stretch."""
    anchors = anchors_of(tables, document.source, document.ordinal)
    last = len(anchors) // 2
    spread = rules.piece_max - rules.piece_min + 1
    # (byte, symbol): where the pieces so far end; first_...: where the open stretch starts.
    boundary, piece, byte, symbol = 0, 0, 0, 0
    first_byte, first_symbol, views, stretch_format = 0, 0, 0, RAW
    marks = STARTS_DOCUMENT
    while boundary <= last:
        number = np.uint64(piece)  # a piece's draws depend on its number, not on those before
        is_compressed = uniform(absorb(draws.formats, number)) < draws.compressed_below
        piece_format = COMPRESSED if is_compressed else RAW
        # A stretch is laid when the next piece has the other format: neighbours have joined.
        if views > 0 and piece_format != stretch_format:
            part = (first_byte, byte, first_symbol, symbol)
            stretch = piece_stretch(stretch_format, part, False, views, marks)
            if not lay(rules, page, document, stretch):
                return
            first_byte, first_symbol, views, marks = byte, symbol, 0, 0
        length = rules.piece_min + int(uniform(absorb(draws.lengths, number)) * spread)
        boundary = nearest_boundary(document, anchors, boundary, symbol + length)
        byte, symbol = boundary_at(document, anchors, boundary)
        boundary, piece, views, stretch_format = boundary + 1, piece + 1, views + 1, piece_format
    part = (first_byte, byte, first_symbol, symbol)
    lay(rules, page, document, piece_stretch(stretch_format, part, True, views, marks))


@compiled
def nearest_boundary(
    document: DrawnDocument, anchors: NDArray[np.uint32], boundary: int, wanted_symbol: int
) -> int:
    """The boundary, from ``boundary`` on, nearest to a symbol (the document's end is one too)."""
    last = len(anchors) // 2
    # Boundaries rise: distances fall up to the nearest one and rise after it.
    distance = abs(boundary_at(document, anchors, boundary)[1] - wanted_symbol)
    while boundary < last:
        next_distance = abs(boundary_at(document, anchors, boundary + 1)[1] - wanted_symbol)
        if next_distance >= distance:
            break
        boundary, distance = boundary + 1, next_distance
    return boundary


@inlined
def piece_stretch(
    stretch_format: int, part: tuple[int, int, int, int], ends: bool, views: int, marks: int
) -> Stretch:
    """The stretch of one format over a (byte range, symbol range) of a document."""
    byte, end_byte, symbol, end_symbol = part
    opens = marks == STARTS_DOCUMENT  # only the first stretch carries a mark
    if stretch_format == RAW:
        return Stretch(RAW, byte, end_byte, end_byte - byte, opens, ends, views, marks)
    return Stretch(COMPRESSED, symbol, end_symbol, end_byte - byte, opens, ends, views, marks)


@compiled
def lay(rules: Rules, page: Page, document: DrawnDocument, stretch: Stretch) -> bool:
    """Lay one stretch at the cursor, over as many contexts as it takes.

    Returns False if the rest of the document is to be dropped (``truncate``).
    """
    cursor = page.cursor
    is_at_start = cursor[OFFSET] == 0
    if rules.truncates and is_at_start and not stretch.opens:
        return False  # a later stretch that would begin a context lies behind the cut
    # Special symbols still to be placed, as the bits that ``marks`` has for them.
    symbols_left = HAS_EOS if stretch.ends else 0
    if rules.sentinels:
        symbols_left |= HAS_OPEN | HAS_CLOSE
    if stretch.opens or (rules.rewraps and is_at_start):
        symbols_left |= HAS_BOS
    start, views, marks = stretch.start, stretch.views, stretch.marks
    while True:
        placed, length = fill(rules.context - cursor[OFFSET], symbols_left, stretch.end - start)
        write(rules, page, document, stretch, start, length, placed, views, marks)
        start, symbols_left = start + length, symbols_left & ~placed
        if symbols_left == 0 and start == stretch.end:
            return True
        if rules.truncates:
            return False
        if rules.rewraps:
            if start == stretch.end:
                return True  # only closing symbols are left: the cut end is not closed
            symbols_left |= HAS_BOS | (HAS_OPEN if rules.sentinels else 0)
        views, marks = 0, 0  # what begins here has been counted with the first span


@inlined
def fill(room: int, symbols_left: int, content_left: int) -> tuple[Int64, Int64]:
    """What of a stretch fits into the room: the special symbols (bits) and the content's length."""
    placed = np.int64(0)
    for symbol in (HAS_BOS, HAS_OPEN):
        if symbols_left & symbol and room > 0:
            placed |= symbol
            room -= 1
    length = min(content_left, room)
    room -= length
    # What closes a stretch stands right behind its content, or not at all in this context.
    if length == content_left:
        for symbol in (HAS_CLOSE, HAS_EOS):
            if symbols_left & symbol and room > 0:
                placed |= symbol
                room -= 1
    return placed, length


@inlined
def write(
    rules: Rules,
    page: Page,
    document: DrawnDocument,
    stretch: Stretch,
    start: int,
    length: int,
    placed: int,
    views: int,
    marks: int,
) -> None:
    """Write one span at the cursor, if it is in the window, and move the cursor behind it."""
    cursor = page.cursor
    if placed & HAS_BOS or cursor[OFFSET] == 0:
        cursor[SEGMENT] += 1
        cursor[POSITION] = 0
        # Only a view that stands before it in the same segment makes this one a second view.
        marks &= ~SECOND_VIEW
    # The four special symbols are the lowest four bits: their number is the bits' sum.
    specials = (placed & 1) + ((placed >> 1) & 1) + ((placed >> 2) & 1) + ((placed >> 3) & 1)
    if page.first <= cursor[CONTEXT] and cursor[CONTEXT] < page.end:
        index = cursor[SPAN_COUNT]
        cursor[SPAN_COUNT] += 1
        # Spans that find no room are counted: the caller then knows how many there are.
        if index < len(page.spans):
            span = page.spans[index]
            span.context, span.offset = cursor[CONTEXT], cursor[OFFSET]
            span.segment, span.position = cursor[SEGMENT], cursor[POSITION]
            span.source, span.ordinal, span.draw = document.source, document.ordinal, document.draw
            span.format, span.start, span.length = stretch.format, start, length
            span.num_bytes = new_bytes_of(stretch, start, length)
            span.views, span.marks = views, marks | placed
    advance(rules, cursor, length + specials)


@inlined
def new_bytes_of(stretch: Stretch, start: int, length: int) -> int:
    """Bytes a part of a stretch stands for: its share, rounded so that the parts add up."""
    size = stretch.end - stretch.start
    if length == size:
        return stretch.new_bytes
    # Differences of one rounded running total: over all parts they sum to new_bytes exactly.
    first = start - stretch.start
    return (first + length) * stretch.new_bytes // size - first * stretch.new_bytes // size


@inlined
def advance(rules: Rules, cursor: NDArray[np.int64], size: int) -> None:
    """Move the cursor; at a context's end it stands at the start of the next one."""
    cursor[OFFSET] += size
    cursor[POSITION] += size
    if cursor[OFFSET] == rules.context:
        cursor[CONTEXT] += 1
        cursor[OFFSET] = 0
        cursor[SEGMENT] = -1  # the next span opens segment 0


@compiled
def pad(rules: Rules, page: Page) -> None:
    """Fill the rest of the context with padding, a segment of its own."""
    nothing = DrawnDocument(0, -1, -1, 0, 0, 0)
    room = rules.context - page.cursor[OFFSET]
    page.cursor[SEGMENT] += 1
    page.cursor[POSITION] = 0
    blank = Stretch(PADDING, 0, room, 0, False, False, 0, 0)
    write(rules, page, nothing, blank, 0, room, 0, 0, 0)
