"""What the kernels compute, in plain Python: symbol by symbol, from the first context on.

This is the definition of packing (method, section 4): the draws, which view of a document is
shown, how contexts are filled, cut and shuffled, and which targets train. It shares no code with
the kernels, not even the counters, and knows no spans; it packs a whole run at
once and takes a thousand times as long. ``tests/data`` holds that every batch of ``data.batches``
is what stands here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from proxylm.data.mixture import Mixture
from proxylm.data.mixture_numbers import MixtureNumbers, mixture_numbers
from proxylm.data.sources import SourceStore, SourceView
from proxylm.symbols import BOS, EOS, IGNORED_TARGET, PAD, Format

WORD = 1 << 64
"""Draws are computed modulo this."""
SOURCE, DOCUMENT_ORDER, DOCUMENT_VIEW, PAIR_ORDER, PIECE_LENGTH, PIECE_FORMAT, CONTEXT_ORDER = (
    range(1, 8)
)
"""What a draw decides."""
MINIMUM_CONTENT = 4
"""A document is not begun where fewer of its symbols would fit."""
LANE_STRIDE = 8
"""Steps from one context of a lane to the next."""

Part = tuple[int, int, int, int]
"""The same text in both views: first and end byte, first and end symbol."""


def absorb(state: int, word: int) -> int:
    """Mix one word into a state: the finalizer of SplitMix64."""
    value = ((state ^ word) + 0x9E3779B97F4A7C15) % WORD
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % WORD
    return value ^ (value >> 31)


def draw(seed: int, purpose: int, source: int, *identity: int) -> int:
    """A draw is a hash of what it decides; nothing is carried from one to the next."""
    state = 0
    for word in (seed, purpose, source, *identity):
        state = absorb(state, word)
    return state


def uniform(state: int) -> float:
    """A draw as a number in [0, 1), of 53 bits."""
    return (state >> 11) / (1 << 53)


def permuted(position: int, count: int, key: int) -> int:
    """Where a keyed permutation of ``0 … count - 1`` sends a position.

    Four rounds of a Feistel network over the bits of the numbers below ``count`` (at least 10),
    repeated until the value is one of those numbers.
    """
    if count == 1:
        return 0
    bits = max(10, (count - 1).bit_length())
    low_bits, high_bits = bits // 2, bits - bits // 2
    value = position
    while True:
        low, high = value % (1 << low_bits), value >> low_bits
        for half_round in range(4):
            if half_round % 2 == 0:
                high ^= absorb(key, low + (half_round << 48)) % (1 << high_bits)
            else:
                low ^= absorb(key, high + (half_round << 48)) % (1 << low_bits)
        value = (high << low_bits) + low
        if value < count:
            return value


@dataclass(frozen=True, kw_only=True)
class PlainDocument:
    """A training document in both views; ``anchors`` are (byte, symbol) pairs."""

    ordinal: int
    raw: bytes
    symbols: list[int]
    anchors: list[tuple[int, int]]

    @property
    def whole(self) -> Part:
        """All of it."""
        return 0, len(self.raw), 0, len(self.symbols)

    @property
    def boundaries(self) -> list[tuple[int, int]]:
        """Where it may be cut: its anchors, and its end."""
        return [*self.anchors, (len(self.raw), len(self.symbols))]

    @classmethod
    def of(cls, store: SourceStore, view: SourceView | None, ordinal: int) -> PlainDocument:
        """One document of a source."""
        return cls(
            ordinal=ordinal,
            raw=store.raw(ordinal).tobytes(),
            symbols=view.symbols(ordinal).tolist() if view else [],
            anchors=[tuple(pair) for pair in view.anchors(ordinal).tolist()] if view else [],
        )


@dataclass
class Cell:
    """One position of a context.

    Attributes:
        symbol: its id.
        segment, position: its attention segment and position id.
        stretch: tells the runs of one format apart.
        is_second_view: whether the other view of its pair stands before it in its segment.
    """

    symbol: int
    segment: int
    position: int
    stretch: int
    is_second_view: bool
    is_padding: bool = False


@dataclass
class Counts:
    """What begins in a context; ``data.statistics`` adds these up over a step."""

    raw_views: int = 0
    compressed_views: int = 0
    pairs: int = 0
    pairs_in_one_context: int = 0
    documents: int = 0


@dataclass(kw_only=True)
class PlainBatches:
    """All contexts of a run, packed when it is made.

    Attributes:
        sources: stores and their views.
        mixture, weights: how they are mixed.
        context, contexts_per_step, total_steps, heads: sizes of the run.
        seed: of all draws.
        contexts: the contexts' cells, in packing order.
        counts: what begins in each context where something does.
    """

    sources: Sequence[tuple[SourceStore, SourceView | None]]
    mixture: Mixture
    weights: Sequence[float]
    context: int
    contexts_per_step: int
    total_steps: int
    heads: int
    seed: int
    contexts: list[list[Cell]] = field(init=False)
    counts: dict[int, Counts] = field(init=False)

    def __post_init__(self) -> None:
        self._numbers: MixtureNumbers = mixture_numbers(self.mixture, self.total_steps)
        self._training = [
            [PlainDocument.of(store, view, int(n)) for n in (~store.held_out).nonzero()[0]]
            for store, view in self.sources
        ]
        self._in_lanes = self._blocks_of_varying_rate()
        self._pack()
        # Lanes that the data does not fill would leave each of their steps incomplete: the block
        # in which it ends is shuffled, which changes the rates and so where it ends.
        while self.steps < self.total_steps and self._block(self.steps) in self._in_lanes:
            self._in_lanes.remove(self._block(self.steps))
            self._pack()

    def _pack(self) -> None:
        self.contexts, self.counts, self._stretches = [[]], {}, 0
        taken = [0] * len(self.sources)
        while len(self.contexts) <= self.total_steps * self.contexts_per_step:
            needed = 1 + self.mixture.sentinels + MINIMUM_CONTENT
            if (self.mixture.rewraps or self.mixture.truncates) and self._room < needed:
                self._pad()
                continue
            source = self._drawn_source(sum(taken))
            documents = self._training[source]
            if self.mixture.stops and taken[source] == len(documents):
                self._pad()
                break
            epoch, place = divmod(taken[source], len(documents))
            key = draw(self.seed, DOCUMENT_ORDER, source, epoch)
            document = documents[permuted(place, len(documents), key)]
            self._lay_document((source, epoch, document.ordinal), document)
            taken[source] += 1
        self.contexts.pop()

    def _drawn_source(self, number: int) -> int:
        """The source of the document drawn after ``number`` others, by the sources' weights."""
        shares = list(self.weights)
        if self.mixture.weighs_bytes:
            means = [sum(len(d.raw) for d in docs) / len(docs) for docs in self._training]
            shares = [share / mean for share, mean in zip(shares, means, strict=True)]
        value = uniform(draw(self.seed, SOURCE, 0, number)) * sum(shares)
        for source, share in enumerate(shares):
            if value < share:
                return source
            value -= share
        raise AssertionError("a draw is below 1")

    def _lay_document(self, identity: tuple[int, int, int], document: PlainDocument) -> None:
        """Show a document raw, compressed or as a pair, at the rate of the context it begins in.

        Calibrated so that a share ``rate`` of all views shown is compressed.
        """
        step = self._step_of(len(self.contexts) - 1)
        rate = float(self._numbers.rates[step])
        if self._numbers.piece_symbols is not None:
            self._lay_pieces(identity, document, rate, *self._numbers.piece_symbols)
            return
        if step >= self._numbers.steps_with_pairs:
            compressed, pair = rate, 0.0
        elif rate >= 0.5:
            compressed = 2 - 1 / rate
            pair = 1 - compressed
        else:
            compressed, pair = 0.0, rate / (1 - rate)
        value = uniform(draw(self.seed, DOCUMENT_VIEW, *identity))
        if compressed <= value < compressed + pair:
            self._lay_pair(identity, document)
        else:
            form = Format.COMPRESSED if value < compressed else Format.RAW
            self._lay(document, form, document.whole, opens=True, ends=True, views=1)

    def _lay_pair(self, identity: tuple[int, int, int], document: PlainDocument) -> None:
        """Both views one after the other: whole, or split into parts that each fit a context."""
        first_draw = uniform(draw(self.seed, PAIR_ORDER, *identity))
        formats = [Format.RAW, Format.COMPRESSED]
        if first_draw < self._numbers.compressed_first:
            formats.reverse()
        cuts, byte, symbol = document.boundaries, 0, 0
        while cuts:
            take = self._cuts_taken(cuts, byte, symbol)
            if take == 0:
                self._pad()
                continue
            end_byte, end_symbol = cuts[take - 1]
            part = (byte, end_byte, symbol, end_symbol)
            cuts, views = cuts[take:], int(byte == 0)
            self._count_pair(end_byte - byte + end_symbol - symbol)
            goes_on = self._lay(
                document, formats[0], part, opens=True, ends=False, views=views
            ) and self._lay(
                document, formats[1], part, opens=False, ends=not cuts, views=views, second=True
            )
            if not goes_on:
                return
            byte, symbol = end_byte, end_symbol

    def _cuts_taken(self, cuts: list[tuple[int, int]], byte: int, symbol: int) -> int:
        """How many gaps between boundaries the next part takes; 0: it waits for a context."""
        if not self._numbers.splits_pairs:
            return len(cuts)
        wrap = 1 + 4 * self.mixture.sentinels  # <bos> and the sentinels
        fitting = [
            number
            for number, (end_byte, end_symbol) in enumerate(cuts, start=1)
            if wrap + end_byte - byte + end_symbol - symbol + (number == len(cuts)) <= self._room
        ]
        if fitting:
            return fitting[-1]
        return 0 if self.contexts[-1] else 1

    def _count_pair(self, content: int) -> None:
        self._count().pairs += 1
        if content + 1 + 3 * self.mixture.sentinels <= self._room:
            self._count().pairs_in_one_context += 1

    def _lay_pieces(
        self,
        identity: tuple[int, int, int],
        document: PlainDocument,
        rate: float,
        least: int,
        most: int,
    ) -> None:
        """Cut a document into pieces of drawn lengths, each raw or compressed; neighbours join."""
        pieces: list[tuple[Format, tuple[int, int]]] = []
        cuts, symbol = document.boundaries, 0
        while cuts:
            number = len(pieces)
            is_compressed = uniform(draw(self.seed, PIECE_FORMAT, *identity, number)) < rate
            drawn = uniform(draw(self.seed, PIECE_LENGTH, *identity, number))
            wanted = symbol + least + int(drawn * (most - least + 1))
            nearest = min(range(len(cuts)), key=lambda n: (abs(cuts[n][1] - wanted), n))
            pieces.append((Format(is_compressed), cuts[nearest]))
            symbol = cuts[nearest][1]
            cuts = cuts[nearest + 1 :]
        byte = symbol = views = 0
        following = [form for form, _ in pieces[1:]]
        for (form, end), next_form in zip(pieces, [*following, None], strict=True):
            views += 1
            if next_form == form:
                continue
            part = (byte, end[0], symbol, end[1])
            ends = next_form is None
            if not self._lay(document, form, part, opens=byte == 0, ends=ends, views=views):
                return
            (byte, symbol), views = end, 0

    def _lay(
        self,
        document: PlainDocument,
        form: Format,
        part: Part,
        *,
        opens: bool,
        ends: bool,
        views: int,
        second: bool = False,
    ) -> bool:
        """Lay one stretch of one format; False if the rest of the document is dropped."""
        if self.mixture.truncates and not opens and not self.contexts[-1]:
            return False
        self._count_stretch(form, views, is_document=opens and part[0] == part[2] == 0)
        raw, symbols = document.raw[part[0] : part[1]], document.symbols[part[2] : part[3]]
        content = [form.offset + value for value in (symbols if form else raw)]
        open_sentinel = [form.open] if self.mixture.sentinels else []
        close_sentinel = [form.close] if self.mixture.sentinels else []
        front = [BOS, *open_sentinel]
        if not (opens or (self.mixture.rewraps and not self.contexts[-1])):
            front = open_sentinel
        second = second and bool(self.contexts[-1])
        todo = [*front, *content, *close_sentinel, *([EOS] if ends else [])]
        placed = 0
        self._stretches += 1
        while placed < len(todo):
            if placed and not self.contexts[-1]:  # a context's end has cut the stretch here
                if self.mixture.truncates:
                    return False
                second = False
                self._stretches += 1
                if self.mixture.rewraps:
                    if placed >= len(front) + len(content):
                        return True  # only closing symbols are left: the cut end is not closed
                    placed = max(placed, len(front))
                    for symbol in (BOS, *open_sentinel):
                        self._put(symbol, second)
            self._put(todo[placed], second)
            placed += 1
        return True

    def _count_stretch(self, form: Format, views: int, *, is_document: bool) -> None:
        counts = self._count()
        counts.documents += is_document
        if form == Format.RAW:
            counts.raw_views += views
        else:
            counts.compressed_views += views

    def _put(self, symbol: int, second: bool, *, is_padding: bool = False) -> None:
        """Write one symbol. A segment starts with a context, with ``<bos>`` and with padding."""
        cells = self.contexts[-1]
        starts = not cells or symbol == BOS or (is_padding and not cells[-1].is_padding)
        segment = (cells[-1].segment if cells else -1) + starts
        position = 0 if starts else cells[-1].position + 1
        cells.append(Cell(symbol, segment, position, self._stretches, second, is_padding))
        if len(cells) == self.context:
            self.contexts.append([])

    def _pad(self) -> None:
        while self.contexts[-1]:
            self._put(PAD, False, is_padding=True)

    @property
    def _room(self) -> int:
        return self.context - len(self.contexts[-1])

    def _count(self) -> Counts:
        return self.counts.setdefault(len(self.contexts) - 1, Counts())

    @property
    def steps(self) -> int:
        """Steps there is data for."""
        return min(len(self.contexts) // self.contexts_per_step, self.total_steps)

    def training_order(self, step: int) -> list[int]:
        """Packing numbers of a step's contexts.

        Blocks whose rate does not vary are shuffled; lanes are followed in the others.
        """
        first, end = self._block(step)
        start, count = first * self.contexts_per_step, min(end, self.steps) - first
        count *= self.contexts_per_step
        if (first, end) in self._in_lanes:
            return [
                number for number in range(start, start + count) if self._step_of(number) == step
            ]
        key = draw(self.seed, CONTEXT_ORDER, 0, first)
        base = (step - first) * self.contexts_per_step
        return [
            start + permuted(base + place, count, key) for place in range(self.contexts_per_step)
        ]

    def _step_of(self, number: int) -> int:
        """The step at whose rate documents are drawn that begin in a context."""
        packed = min(number // self.contexts_per_step, self.total_steps - 1)
        first, end = self._block(packed)
        if (first, end) not in self._in_lanes:
            return packed
        steps = self._lane_steps(end - first)
        # The context behind the run's last one is none of any step: what begins there is not seen.
        return first + steps[min(number - first * self.contexts_per_step, len(steps) - 1)]

    def _lane_steps(self, num_steps: int) -> list[int]:
        """Steps of a block's contexts, from its first: up one lane, down the next."""
        row: list[int] = []
        for lane in range(LANE_STRIDE):
            steps = range(lane, num_steps, LANE_STRIDE)
            row += reversed(steps) if lane % 2 else steps
        back = list(reversed(row))
        return [
            step for slot in range(self.contexts_per_step) for step in (back if slot % 2 else row)
        ]

    def _block(self, step: int) -> tuple[int, int]:
        """First step and end of a step's block: at most so many steps, across no phase's end."""
        phases = {0, self.total_steps, self._numbers.steps_with_pairs, *self._numbers.phase_ends}
        start = max(phase for phase in phases if phase <= step)
        end = min(phase for phase in phases if phase > step)
        size = self.mixture.shuffle_block_steps
        first = start + (step - start) // size * size
        return first, min(first + size, end)

    def _blocks_of_varying_rate(self) -> set[tuple[int, int]]:
        blocks = {self._block(step) for step in range(self.total_steps)}
        return {
            (first, end) for first, end in blocks if len(set(self._numbers.rates[first:end])) > 1
        }

    def targets(self, cells: list[Cell]) -> list[list[int]]:
        """Targets of one context: ``[N][H]``."""
        return [
            [self._target(cells, position, head) for head in range(self.heads)]
            for position in range(len(cells))
        ]

    def _target(self, cells: list[Cell], position: int, head: int) -> int:
        """What a head wants at a position (method, section 5).

        Nothing beyond the attention segment; for heads from 1 on, nothing beyond the stretch and
        nothing in the second view of a pair.
        """
        here = cells[position]
        if here.is_padding or position + 1 + head >= len(cells):
            return IGNORED_TARGET
        there = cells[position + 1 + head]
        if there.segment != here.segment:
            return IGNORED_TARGET
        if head > 0 and (here.is_second_view or there.stretch != here.stretch):
            return IGNORED_TARGET
        return there.symbol
