"""Where a text's contexts occurred before, which bytes followed, and the tree that this drafts.

A context is the last ``ORDERS[k]`` bytes before a place. ``newest_ks [orders, slots]`` has, for the
hash of a context, the newest place that it came before (0: none), ``earlier_nk [places, orders]``
the place before that one with the same hash: two arrays that hold every occurrence, however many.

Names end in their array's axes: ``k`` orders, ``s`` slots of the hash table (a power of two),
``n`` places of the text, ``l`` levels of a draft, ``b`` byte values, ``c`` candidates, ``d``
drafted bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proxylm.compiled import Int32s, Int64s, Uint8s
from proxylm.generation.lookup.compiled import compiled

ORDERS = (12, 8, 6, 5, 4, 3, 2, 1)
"""Lengths of contexts, longest first."""

OCCURRENCES = 24
"""How many of a context are looked at, the newest first: what came last says most."""

LOOKS = 4 * OCCURRENCES
"""Most places looked at for them: some are of other contexts with the same hash."""

ESCAPE = 0.5
"""What each byte seen in a context adds to the weight of bytes not seen in it."""

NEGLIGIBLE = 0.02
"""A shorter context is not asked where it has less than this share."""

ALTERNATIVES = 3
"""Most bytes that are tried after one another."""

_HASH_START, _HASH_FACTOR = np.uint32(0x811C9DC5), np.uint32(0x01000193)  # FNV-1a's

Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]


@compiled
def find_slots(text_n: Uint8s, place: int, slots: int, slot_k: Int64s) -> int:
    """Where the table has the contexts before a place; of the longest that fits, which it is."""
    mask = np.uint32(slots - 1)
    context = _HASH_START
    length, k = 0, len(ORDERS)
    while k > 0 and ORDERS[k - 1] <= place:
        k -= 1
        while length < ORDERS[k]:
            length += 1
            context = (context ^ np.uint32(text_n[place - length])) * _HASH_FACTOR
        slot_k[k] = (context ^ (context >> np.uint32(15))) & mask
    return k


@compiled
def index_places(
    text_n: Uint8s, first: int, end: int, newest_ks: Int32s, earlier_nk: Int32s
) -> None:
    """Note of the places ``first`` ... ``end - 1`` which contexts they follow."""
    slot_k = np.empty(len(ORDERS), dtype=np.int64)
    for place in range(max(1, first), end):
        for k in range(find_slots(text_n, place, newest_ks.shape[1], slot_k), len(ORDERS)):
            earlier_nk[place, k] = newest_ks[k, slot_k[k]]
            newest_ks[k, slot_k[k]] = place


@compiled
def predict(
    text_n: Uint8s, end: int, newest_ks: Int32s, earlier_nk: Int32s, predicted_b: Float64s
) -> float:
    """Probabilities of the byte at ``end``, by what followed its contexts; what they leave over.

    Prediction by partial matching: the longest context speaks first, and what it leaves to bytes
    that it has not seen goes to the next shorter one. Places from ``end`` on are not read, nor need
    those of a draft be indexed.
    """
    slot_k = np.empty(len(ORDERS), dtype=np.int64)
    longest = find_slots(text_n, end, newest_ks.shape[1], slot_k)
    predicted_b[:] = 0.0
    left = 1.0
    counts_b = np.zeros(256, dtype=np.int64)
    seen = np.empty(OCCURRENCES, dtype=np.uint8)
    for k in range(longest, len(ORDERS)):
        place, total, distinct, looks = newest_ks[k, slot_k[k]], 0, 0, 0
        while place > 0 and total < OCCURRENCES and looks < LOOKS:
            looks += 1
            same = ORDERS[k] <= place
            j = 1
            while same and j <= ORDERS[k]:
                same = text_n[place - j] == text_n[end - j]
                j += 1
            if same:
                value = text_n[place]
                if counts_b[value] == 0:
                    seen[distinct] = value
                    distinct += 1
                counts_b[value] += 1
                total += 1
            place = earlier_nk[place, k]
        if total == 0:
            continue
        weight = left / (total + ESCAPE * distinct)
        for i in range(distinct):
            predicted_b[seen[i]] += weight * counts_b[seen[i]]
            counts_b[seen[i]] = 0
        left = weight * ESCAPE * distinct
        if left < NEGLIGIBLE:
            break
    return left


@compiled
def draft_tree(
    text_n: Uint8s,
    end: int,
    newest_ks: Int32s,
    earlier_nk: Int32s,
    heads_lb: Float32s,
    share_l: Float64s,
    depth: int,
    least: float,
    byte_d: Int64s,
    parent_d: Int64s,
) -> int:
    """The bytes that are reached most probably after ``text[:end]``, best first; how many.

    At most ``len(byte_d)`` bytes, at most ``depth`` one after another, none reached with less than
    ``least``. ``parent_d`` is as in ``Draft.parents``. The text needs room for ``depth`` bytes
    behind its end, which is written over. ``heads_lb`` are a model's own probabilities of the first
    levels, and have ``share_l`` of the say in them.
    """
    most = len(byte_d)
    level_d = np.zeros(most + 1, dtype=np.int64)
    # Candidates: their probability (product), parent and byte; 0 once they are taken.
    room = ALTERNATIVES * (most + 1)
    reached_c = np.zeros(room)
    parent_c = np.zeros(room, dtype=np.int64)
    byte_c = np.zeros(room, dtype=np.int64)
    predicted_b = np.empty(256)
    count, candidates, reached = 0, 0, 1.0
    while True:
        level = level_d[count]  # of the byte drafted last; its followers are one deeper
        if level < depth:
            j, follows = level, count
            while follows > 0:
                j -= 1
                text_n[end + j] = byte_d[follows - 1]
                follows = parent_d[follows - 1]
            predict(text_n, end + level, newest_ks, earlier_nk, predicted_b)
            if level < len(heads_lb):
                share = share_l[level]
                for value in range(256):
                    own = (1.0 - share) * predicted_b[value]
                    predicted_b[value] = own + share * heads_lb[level, value]
            for _ in range(ALTERNATIVES):
                value = int(np.argmax(predicted_b))
                if reached * predicted_b[value] < least or predicted_b[value] <= 0.0:
                    break
                reached_c[candidates] = reached * predicted_b[value]
                parent_c[candidates] = count
                byte_c[candidates] = value
                candidates += 1
                predicted_b[value] = 0.0
        if count == most or candidates == 0:
            return count
        best = np.argmax(reached_c[:candidates])
        reached = reached_c[best]
        if reached <= 0.0:
            return count
        byte_d[count], parent_d[count] = byte_c[best], parent_c[best]
        count += 1
        level_d[count] = 1 + level_d[parent_c[best]]
        reached_c[best] = 0.0
