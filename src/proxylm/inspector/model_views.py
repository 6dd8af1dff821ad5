"""A text as a model sees it: what it reads, its surprisal, what comes next, what is drafted.

Everything is asked of a *reading* (``scoring.readings``): the text as bytes, as the tokens of the
model's compressor, or mixed.
"""

from __future__ import annotations

from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64

from proxylm.checkpoints.run_data import shows_pieces
from proxylm.compressors.contract import Compressor
from proxylm.compressors.segments import segments
from proxylm.errors import DamagedWeightsError, ProxylmError, UsageError
from proxylm.generation.batch_decoder import BatchDecoder
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.drafts import DRAFTERS, NO_DRAFT, Draft, drafter_named
from proxylm.generation.next_bytes import ExactBytes
from proxylm.generation.options import GenerationOptions, SymbolOptions
from proxylm.generation.output_format import OutputFormat, head_0_logits
from proxylm.generation.prompt_ends import Spellings
from proxylm.generation.request import ByteRequest, raw_symbols
from proxylm.generation.token_reading import TokenReading
from proxylm.scoring.read_as import BYTES, MIXED, TOKENS, PromptEnd
from proxylm.scoring.readings import (
    CompressedReading,
    MixedReading,
    RawReading,
    Reading,
    reading_of,
)
from proxylm.scoring.score import score
from proxylm.symbols import (
    BYTE_COUNT,
    COMPRESSED_OFFSET,
    RAW_OFFSET,
    SPECIAL_COUNT,
    Format,
    symbol_name,
)

READINGS = (BYTES, TOKENS, MIXED)
SHOWN_NEXT = 16
"""Most probable symbols that are told; the rest is one number."""

SHOWN_READ = 400
"""Of what a model reads, the last so many symbols are told."""

LEAST_STRETCH, MOST_STRETCHES = 16, 64
"""Bytes predicted at a time, and how often, where a text is read mixed."""

END = "end"
"""The name of the text's end among what can come next."""

_EVERY_BYTE = [bytes([byte]) for byte in range(BYTE_COUNT)]


class InspectedModel:
    """A model under a name, and the ways in which it can read.

    Attributes:
        name: on the page.
        model: the model.
        compressor: its own; None where it has none.
        lock: held while it computes; a second request waits.
    """

    def __init__(self, name: str, model: ByteModel, compressor: Compressor | None) -> None:
        self.name = name
        self.model = model
        self.compressor = compressor
        self.lock = Lock()

    @cached_property
    def _readings(self) -> dict[str, Reading | str]:
        """By name, each way to read, or why the model cannot be read so."""
        found: dict[str, Reading | str] = {}
        for name in READINGS:
            try:
                found[name] = reading_of(self.model, name, self.compressor)
            except ProxylmError as error:
                found[name] = str(error)
        return found

    def reading(self, name: str) -> Reading:
        """One way to read.

        Raises:
            UsageError: the model cannot be read so.
        """
        found = self._readings.get(name, f"read as {name}: must be one of {', '.join(READINGS)}")
        if isinstance(found, str):
            raise UsageError(found)
        return found

    def as_json(self) -> dict[str, Any]:
        """What it is, for the page."""
        config = self.model.config
        can = [name for name, one in self._readings.items() if isinstance(one, Reading)]
        return {
            "name": self.name,
            "parameters": config.parameter_count,
            "context": config.context,
            "attention": config.attention.model_dump(mode="json"),
            "heads": config.target_heads,
            "readings": can,
            "cannot": {name: why for name, why in self._readings.items() if name not in can},
            "saw_pieces": None if self.model.folder is None else shows_pieces(self.model.folder),
            "drafters": [name for name, one in DRAFTERS.items() if one is not None],
        }


def what_is_read(reading: Reading, text: bytes) -> dict[str, Any]:
    """The symbols that a model reads of a text, its prefix among them.

    Returns:
        ``count`` of them, and the last ``SHOWN_READ`` as ``[kind, name, start, stop]``: a
        ``special`` of no bytes, a ``byte``, or a ``symbol``, of the bytes from start to stop.

    Raises:
        DataError: the text cannot be read so.
    """
    ids, spans = _read(reading, text)
    shown = zip(ids[-SHOWN_READ:].tolist(), spans[-SHOWN_READ:].tolist(), strict=True)
    return {
        "count": len(ids),
        "symbols": [[_kind(one), symbol_name(one), *span] for one, span in shown],
    }


def surprisal(inspected: InspectedModel, reading: Reading, text: bytes) -> dict[str, Any]:
    """What each byte of a text costs a model, in bits.

    Returns:
        ``bits`` by byte (of what begins there: a symbol of several bytes counts on its first),
        ``starts`` of the symbols, and ``bits_per_byte``.

    Raises:
        DataError: the text is empty, or cannot be read so.
        DamagedWeightsError: the bits are no numbers.
    """
    # Read mixed, a stretch of bytes follows the symbols of all before: short, to show what they do.
    stride = max(LEAST_STRETCH, len(text) // MOST_STRETCHES) if reading.name == MIXED else None
    scores = score(inspected.model, [text], reading, stride=stride)
    starts = np.unique(reading.read(text).starts)
    return {
        "bits": np.round(scores.per_byte[0], 4).tolist(),
        "starts": starts.tolist(),
        "bits_per_byte": scores.bits_per_byte,
    }


def next_symbols(inspected: InspectedModel, reading: Reading, text: bytes) -> list[dict[str, Any]]:
    """What a model expects after a text, the most probable first.

    Returns:
        Of each its ``name``, its ``bytes`` (None where it stands for none of its own) and its
        ``probability``; ``END`` is the text's end.

    Raises:
        DataError: the text cannot be read so.
        DamagedWeightsError: the model's output is not a number.
    """
    ids, _ = _read(reading, text)
    module = inspected.model.module
    sentinels = module.config.sentinels
    if isinstance(reading, CompressedReading):
        output = OutputFormat(Format.COMPRESSED, sentinels, reading.compressor.symbol_count)
    else:
        output = OutputFormat(Format.RAW, sentinels, BYTE_COUNT)
    with torch.inference_mode():
        given = torch.from_numpy(ids)[None].to(module.lm_head.weight.device)
        hidden = module.hidden(given)[0, -1:]
        logits = head_0_logits(module, hidden, end=output.end)[0] + output.mask
    exponents = np.exp(logits.astype(np.float64) - logits.max())
    probabilities = exponents / exponents.sum()
    end = float(probabilities[: output.offset].sum())
    return _most_probable(probabilities[output.offset :], end, _spelled(reading))


def exact_next_bytes(
    inspected: InspectedModel, reading: Reading, text: bytes
) -> list[dict[str, Any]]:
    """The bytes that a model of tokens expects, whatever tokens spell them.

    Raises:
        UsageError: symbols of this reading spell no bytes of their own.
        DataError: the text cannot be read so.
        DamagedWeightsError: the model's output is not a number.
    """
    spellings = reading.compressor.spellings if isinstance(reading, CompressedReading) else None
    if spellings is None:
        raise UsageError("exact next bytes are those of tokens that spell bytes of their own")
    asked = ExactBytes(inspected.model.module, reading, Spellings(spellings))
    probabilities = asked.after(text)[0].probabilities()
    end = float(probabilities[BYTE_COUNT])
    return _most_probable(probabilities[:BYTE_COUNT], end, _EVERY_BYTE)


def continuation(inspected: InspectedModel, reading: Reading, text: bytes, num_bytes: int) -> bytes:
    """What a model writes after a text, greedily; as tokens, up to the one that completes it.

    Raises:
        DataError: the text cannot be read so.
        DamagedWeightsError: the model's output is not a number.
    """
    if isinstance(reading, CompressedReading):
        tokens = TokenReading(inspected.model, reading.compressor)
        options = SymbolOptions(max_new_symbols=num_bytes, prompt_end=PromptEnd.KEEP)
        written = bytearray()
        for delta in tokens.deltas(text, options):
            written += delta.data
            if len(written) >= num_bytes:
                break
        return bytes(written[:num_bytes])
    assert isinstance(reading, RawReading)
    return inspected.model.with_reading(reading).generate(text, max_new_bytes=num_bytes)


def draft_passes(
    inspected: InspectedModel, reading: Reading, text: bytes, *, drafter: str, num_bytes: int
) -> list[dict[str, Any]]:
    """Each forward pass of a greedy continuation: what was drafted for it, and what came of it.

    Returns:
        Of each pass ``written``, its bytes (the last of them needs no draft), and ``nodes``: each
        drafted byte's ``parent`` (0 is the text's end, ``j + 1`` node ``j``) and whether it was
        ``accepted``.

    Raises:
        UsageError: there is no such drafter, or what is read ends in no bytes.
        DamagedWeightsError: the model's output is not a number.
    """
    if not isinstance(reading, RawReading):
        raise UsageError("bytes are drafted: read as bytes or mixed")
    prefix, covered = reading.opened(text)
    options = GenerationOptions(max_new_bytes=num_bytes, drafter=drafter_named(drafter))
    decoder = BatchDecoder(inspected.model.module, max_rows=1)
    handle = decoder.add(ByteRequest(prompt=text, options=options, prefix=prefix, covered=covered))
    passes = []
    while decoder.active:
        draft = decoder.drafts.get(handle, NO_DRAFT)
        written = b"".join(delta.data for delta in decoder.step())
        if written or len(draft.symbols):  # the prompt may take passes of its own
            passes.append({"written": written, "nodes": _nodes(draft, written)})
    return passes


def _nodes(draft: Draft, written: bytes) -> list[dict[str, Any]]:
    accepted, at = set(), 0
    for symbol in raw_symbols(written).tolist():
        found = draft.children.get((at, symbol))
        if found is None:
            break
        accepted.add(found)
        at = found
    pairs = zip(draft.symbols.tolist(), draft.parents.tolist(), strict=True)
    return [
        {"byte": symbol - RAW_OFFSET, "parent": parent, "accepted": number in accepted}
        for number, (symbol, parent) in enumerate(pairs, start=1)
    ]


def _read(
    reading: Reading, text: bytes
) -> tuple[Int64[np.ndarray, " symbol"], Int64[np.ndarray, "symbol 2"]]:
    """Ids of all that is read, and the bytes that each stands for (none of specials)."""
    if isinstance(reading, RawReading):
        prefix, covered = reading.opened(text)
        ids = np.concatenate([prefix, raw_symbols(text[covered:])])
    else:
        prefix, covered = reading.prefix, len(text)
        ids = np.concatenate([prefix, reading.read(text).ids])
    spans = np.zeros((len(ids), 2), dtype=np.int64)
    places = np.arange(covered, len(text))
    if len(places):
        spans[-len(places) :] = np.stack([places, places + 1], axis=1)
    symbols = np.flatnonzero(ids >= COMPRESSED_OFFSET)
    if len(symbols):
        spans[symbols] = _symbol_spans(reading, text)[: len(symbols)]
    return ids, spans


def _symbol_spans(reading: Reading, text: bytes) -> Int64[np.ndarray, "symbol 2"]:
    """The bytes of each of a text's symbols; those of a run where they are not told apart."""
    assert isinstance(reading, CompressedReading | MixedReading), "others read no symbols"
    found = segments(reading.compressor, text)
    return np.repeat(found.spans, [len(one) for one in found.symbols], axis=0)


def _spelled(reading: Reading) -> list[bytes] | None:
    if isinstance(reading, CompressedReading):
        spellings = reading.compressor.spellings
        return None if spellings is None else list(spellings)
    return _EVERY_BYTE


def _most_probable(
    following: Float64[np.ndarray, " symbol"], end: float, spelled: list[bytes] | None
) -> list[dict[str, Any]]:
    if not np.isfinite(following).all():
        raise DamagedWeightsError
    best = np.argsort(-following, kind="stable")[:SHOWN_NEXT].tolist()
    found = [
        {
            "name": f"#{symbol}",
            "bytes": None if spelled is None else spelled[symbol],
            "probability": float(following[symbol]),
        }
        for symbol in best
    ]
    found.append({"name": END, "bytes": None, "probability": end})
    return sorted(found, key=lambda one: -float(one["probability"]))


def _kind(symbol: int) -> str:
    if symbol < SPECIAL_COUNT:
        return "special"
    return "byte" if symbol < COMPRESSED_OFFSET else "symbol"
