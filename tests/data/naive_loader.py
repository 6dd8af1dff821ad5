"""The loader again, in plain Python: symbol by symbol, from the first context, no blocks or spans.

It is written from the rules alone (method, sections 2, 4 and 5) and
shares no code with the kernels, not even the counters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from memory_store import MemoryDocument

from proxylm import symbols
from proxylm.data.mixture import (
    AlwaysPairs,
    ConstantRate,
    DocumentGranularity,
    MixingConfig,
    NoPairs,
    PieceGranularity,
)

WORD = 1 << 64
SOURCE, DOCUMENT_ORDER, DOCUMENT_VIEW, PAIR_ORDER, PIECE_LENGTH, PIECE_FORMAT, CONTEXT_ORDER = (
    range(1, 8)
)
RAW, COMPRESSED = symbols.Format.RAW, symbols.Format.COMPRESSED


def absorb(state: int, word: int) -> int:
    value = ((state ^ word) + 0x9E3779B97F4A7C15) % WORD
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % WORD
    return value ^ (value >> 31)


def draw(seed: int, purpose: int, source: int, *identity: int) -> int:
    state = 0
    for word in (seed, purpose, source, *identity):
        state = absorb(state, word)
    return state


def uniform(state: int) -> float:
    return (state >> 11) / (1 << 53)


def permuted(position: int, count: int, key: int) -> int:
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


@dataclass
class Cell:
    """One position of a context. ``stretch`` tells stretches of one format apart."""

    symbol: int
    segment: int
    position: int
    stretch: int
    is_second_view: bool
    is_padding: bool = False


@dataclass
class Counts:
    raw_views: int = 0
    compressed_views: int = 0
    pairs: int = 0
    pairs_in_one_context: int = 0
    documents: int = 0


@dataclass
class NaiveLoader:
    """Packs everything up to the run's end when it is made; then look at ``contexts``."""

    sources: Sequence[Sequence[MemoryDocument]]
    mixing: MixingConfig
    weights: Sequence[float]
    context: int
    contexts_per_step: int
    total_steps: int
    heads: int
    seed: int
    contexts: list[list[Cell]] = field(default_factory=lambda: [[]])
    counts: dict[int, Counts] = field(default_factory=dict)
    stretches: int = 0
    is_exhausted: bool = False

    def __post_init__(self) -> None:
        self.training = [
            [(ordinal, doc) for ordinal, doc in enumerate(docs) if not doc.held_out]
            for docs in self.sources
        ]
        taken = [0] * len(self.sources)
        sample = 0
        while len(self.contexts) <= self.total_steps * self.contexts_per_step:
            if self.mixing.overflow != "plain" and self.room < 5 + self.mixing.sentinels:
                self.pad()
                continue
            source = self.draw_source(sample)
            documents = self.training[source]
            if self.mixing.when_exhausted == "stop" and taken[source] == len(documents):
                self.pad()
                self.is_exhausted = True
                break
            epoch, place = divmod(taken[source], len(documents))
            key = draw(self.seed, DOCUMENT_ORDER, source, epoch)
            ordinal, document = documents[permuted(place, len(documents), key)]
            self.lay_document(source, epoch, ordinal, document)
            taken[source] += 1
            sample += 1
        self.contexts.pop()

    # --- what is drawn

    def draw_source(self, sample: int) -> int:
        shares = list(self.weights)
        if self.mixing.weight_of == "bytes":
            means = [sum(len(d.raw) for _, d in docs) / len(docs) for docs in self.training]
            shares = [share / mean for share, mean in zip(shares, means, strict=True)]
        value = uniform(draw(self.seed, SOURCE, 0, sample)) * sum(shares)
        for source, share in enumerate(shares):
            if value < share:
                return source
            value -= share
        raise AssertionError("a draw is below 1")

    def rate(self, step: int) -> float:
        schedule = self.mixing.rate
        if isinstance(schedule, ConstantRate):
            return schedule.rate
        rising = round(schedule.fraction * self.total_steps)
        if step >= rising:
            return schedule.end
        return schedule.start + (schedule.end - schedule.start) * step / rising

    def has_pairs(self, step: int) -> bool:
        assert isinstance(self.mixing.granularity, DocumentGranularity)
        pairing = self.mixing.granularity.pairing
        if isinstance(pairing, NoPairs):
            return False
        return isinstance(pairing, AlwaysPairs) or step < round(pairing.fraction * self.total_steps)

    # --- documents

    def lay_document(self, source: int, epoch: int, ordinal: int, document: MemoryDocument) -> None:
        step = min((len(self.contexts) - 1) // self.contexts_per_step, self.total_steps - 1)
        rate = self.rate(step)
        identity = (source, epoch, ordinal)
        if isinstance(self.mixing.granularity, PieceGranularity):
            self.lay_pieces(identity, document, rate)
            return
        value = uniform(draw(self.seed, DOCUMENT_VIEW, *identity))
        whole = (0, len(document.raw), 0, len(document.symbols))
        if not self.has_pairs(step):
            compressed, pair = rate, 0.0
        elif rate >= 0.5:
            compressed = 2 - 1 / rate
            pair = 1 - compressed
        else:
            compressed, pair = 0.0, rate / (1 - rate)
        if value < compressed:
            self.lay(document, COMPRESSED, whole, opens=True, ends=True, views=1)
        elif value < compressed + pair:
            self.lay_pair(identity, document)
        else:
            self.lay(document, RAW, whole, opens=True, ends=True, views=1)

    def lay_pair(self, identity: tuple[int, int, int], document: MemoryDocument) -> None:
        granularity = self.mixing.granularity
        assert isinstance(granularity, DocumentGranularity)
        order = {"rc": 0.0, "cr": 1.0, "random": 0.5}[granularity.pairing.order]
        compressed_first = uniform(draw(self.seed, PAIR_ORDER, *identity)) < order
        formats = (COMPRESSED, RAW) if compressed_first else (RAW, COMPRESSED)
        cuts = [*document.anchors, (len(document.raw), len(document.symbols))]
        byte = symbol = 0
        while cuts:
            takes = [
                n
                for n in range(1, len(cuts) + 1)
                if self.pair_size(cuts[n - 1][0] - byte, cuts[n - 1][1] - symbol, n == len(cuts))
                <= self.room
            ]
            if granularity.pair_overflow == "cut":
                take = len(cuts)
            elif takes:
                take = takes[-1]
            elif self.contexts[-1]:
                self.pad()
                continue
            else:
                take = 1
            end_byte, end_symbol = cuts[take - 1]
            part = (byte, end_byte, symbol, end_symbol)
            cuts = cuts[take:]
            views = int(byte == 0)
            self.count().pairs += 1
            content = end_byte - byte + end_symbol - symbol
            if content + 1 + 3 * self.mixing.sentinels <= self.room:
                self.count().pairs_in_one_context += 1
            goes_on = self.lay(
                document, formats[0], part, opens=True, ends=False, views=views
            ) and self.lay(
                document, formats[1], part, opens=False, ends=not cuts, views=views, second=True
            )
            if not goes_on:
                return
            byte, symbol = end_byte, end_symbol

    def pair_size(self, num_bytes: int, num_symbols: int, is_last: bool) -> int:
        return 1 + 4 * self.mixing.sentinels + num_bytes + num_symbols + is_last

    def lay_pieces(
        self, identity: tuple[int, int, int], document: MemoryDocument, rate: float
    ) -> None:
        granularity = self.mixing.granularity
        assert isinstance(granularity, PieceGranularity)
        cuts = [*document.anchors, (len(document.raw), len(document.symbols))]
        pieces: list[tuple[int, tuple[int, int]]] = []
        symbol = 0
        while cuts:
            number = len(pieces)
            is_compressed = uniform(draw(self.seed, PIECE_FORMAT, *identity, number)) < rate
            spread = granularity.max_symbols - granularity.min_symbols + 1
            drawn = int(uniform(draw(self.seed, PIECE_LENGTH, *identity, number)) * spread)
            wanted = symbol + granularity.min_symbols + drawn
            nearest = min(range(len(cuts)), key=lambda n: (abs(cuts[n][1] - wanted), n))
            pieces.append((COMPRESSED if is_compressed else RAW, cuts[nearest]))
            symbol = cuts[nearest][1]
            cuts = cuts[nearest + 1 :]
        byte = symbol = views = 0
        opens = True
        for number, (form, (end_byte, end_symbol)) in enumerate(pieces):
            views += 1
            is_last = number + 1 == len(pieces)
            if not is_last and pieces[number + 1][0] == form:
                continue
            part = (byte, end_byte, symbol, end_symbol)
            if not self.lay(document, form, part, opens=opens, ends=is_last, views=views):
                return
            byte, symbol, views, opens = end_byte, end_symbol, 0, False

    # --- symbols

    def lay(
        self,
        document: MemoryDocument,
        form: int,
        part: tuple[int, int, int, int],
        *,
        opens: bool,
        ends: bool,
        views: int,
        second: bool = False,
    ) -> bool:
        """Lay one stretch; False if the rest of the document is dropped."""
        policy = self.mixing.overflow
        if policy == "truncate" and not opens and not self.contexts[-1]:
            return False
        if form == RAW:
            content = [byte + 64 for byte in document.raw[part[0] : part[1]]]
        else:
            content = [symbol + 320 for symbol in document.symbols[part[2] : part[3]]]
        sentinels = ([12, 14][form], [13, 15][form]) if self.mixing.sentinels else ()
        front = [*sentinels[:1]]
        closing = [*sentinels[1:], *([2] if ends else [])]
        if opens or (policy == "continue" and not self.contexts[-1]):
            front = [1, *front]
        self.stretches += 1
        self.count().documents += opens and part[0] == part[2] == 0
        if form == RAW:
            self.count().raw_views += views
        else:
            self.count().compressed_views += views
        if not self.contexts[-1]:
            second = False
        todo = [*front, *content, *closing]
        placed = 0
        while placed < len(todo):
            if placed and not self.contexts[-1]:
                if policy == "truncate":
                    return False
                second = False
                self.stretches += 1
                if policy == "continue":
                    if placed >= len(front) + len(content):
                        return True
                    placed = max(placed, len(front))
                    for symbol in (1, *sentinels[:1]):
                        self.put(symbol, second)
            self.put(todo[placed], second)
            placed += 1
        return True

    def put(self, symbol: int, second: bool, *, is_padding: bool = False) -> None:
        cells = self.contexts[-1]
        starts = not cells or symbol == 1
        starts |= is_padding and not cells[-1].is_padding
        segment = (cells[-1].segment if cells else -1) + starts
        position = 0 if starts else cells[-1].position + 1
        cells.append(Cell(symbol, segment, position, self.stretches, second, is_padding))
        if len(cells) == self.context:
            self.contexts.append([])

    def pad(self) -> None:
        while self.contexts[-1]:
            self.put(0, False, is_padding=True)

    @property
    def room(self) -> int:
        return self.context - len(self.contexts[-1])

    def count(self) -> Counts:
        return self.counts.setdefault(len(self.contexts) - 1, Counts())

    # --- the result

    @property
    def steps(self) -> int:
        return min(len(self.contexts) // self.contexts_per_step, self.total_steps)

    def training_order(self, step: int) -> list[int]:
        """Packing numbers of a step's contexts."""
        phases = {0, self.total_steps}
        if not isinstance(self.mixing.rate, ConstantRate):
            phases.add(round(self.mixing.rate.fraction * self.total_steps))
        granularity = self.mixing.granularity
        if isinstance(granularity, DocumentGranularity) and granularity.pairing.kind == "warmup":
            phases.add(round(granularity.pairing.fraction * self.total_steps))
        ends = [end for end in sorted(phases) if end > step]
        start = max(phase for phase in phases if phase <= step)
        size = self.mixing.shuffle_block_steps
        first = start + (step - start) // size * size
        count = (min(first + size, ends[0], self.steps) - first) * self.contexts_per_step
        key = draw(self.seed, CONTEXT_ORDER, 0, first)
        places = range(self.contexts_per_step)
        base = (step - first) * self.contexts_per_step
        return [
            first * self.contexts_per_step + permuted(base + place, count, key) for place in places
        ]

    def targets(self, cells: list[Cell]) -> list[list[int]]:
        return [
            [self.target(cells, position, head) for head in range(self.heads)]
            for position in range(len(cells))
        ]

    def target(self, cells: list[Cell], position: int, head: int) -> int:
        here = cells[position]
        if here.is_padding or position + 1 + head >= len(cells):
            return -100
        there = cells[position + 1 + head]
        if there.segment != here.segment:
            return -100
        if head > 0 and (here.is_second_view or there.stretch != here.stretch):
            return -100
        return there.symbol
