"""What a frozen model of tokens says of single bytes, as targets beside the bytes themselves.

Where a text's token begins, the next byte has a distribution that follows from the next token's:
the sum over all tokens that begin with it. Inside a token, of which some bytes are known already,
it is that of the tokens that go on from them. Both are what the byte at hand is a single draw of,
given what stands before it and where its token begins; so a model learns the same from them, with
less noise. The teacher reads what the student reads, as the tokenizer cuts it: one short pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int

from proxylm.checkpoints.reading import load_module
from proxylm.checkpoints.run_data import compressor_of
from proxylm.data.batch import Batch
from proxylm.errors import DataError, UsageError
from proxylm.generation.prompt_ends import Spellings
from proxylm.models.language_model import LanguageModel
from proxylm.models.loss import ByteTargets
from proxylm.scoring.readings import CompressedReading, Ids, ReadText
from proxylm.symbols import BYTE_COUNT, COMPRESSED_OFFSET, RAW_OFFSET
from proxylm.training.config import DistillationConfig


@dataclass(frozen=True, slots=True)
class Stretch:
    """One document's part of a context, as bytes.

    Attributes:
        text: its bytes.
        rows: int64 ``[m]``; positions of the batch, all contexts in a row, that predict a byte.
        offsets: int64 ``[m]``; where in the text that byte is.
    """

    text: bytes
    rows: Ids
    offsets: Ids


class Teacher:
    """A frozen model of tokens.

    Args:
        model: the model; it is put into evaluation mode, without gradients.
        reading: how it reads tokens.
        spellings: the bytes of each of them.
        weight: of what it says, beside 1 for the bytes themselves.
    """

    def __init__(
        self,
        model: LanguageModel,
        reading: CompressedReading,
        spellings: list[bytes],
        *,
        weight: float,
    ) -> None:
        self._model = model.eval().requires_grad_(False)
        self._reading = reading
        self._of_token = spellings
        self._spellings = Spellings(spellings)
        self._weight = weight

    @classmethod
    def of(cls, config: DistillationConfig) -> Teacher:
        """Read the model that a configuration names, and its compressor.

        Raises:
            UsageError: it has no compressor, or one whose symbols spell no bytes of their own.
            ProxylmError: it cannot be read.
        """
        folder = Path(config.teacher)
        compressor = compressor_of(folder)
        if compressor is None or compressor.spellings is None:
            raise UsageError(f"distillation: {folder} brings no tokenizer to read bytes by")
        model = load_module(folder).module
        reading = CompressedReading(compressor, sentinels=model.config.sentinels)
        return cls(model, reading, list(compressor.spellings), weight=config.weight)

    def to(self, device: torch.device) -> Teacher:
        """The same, on a device."""
        self._model.to(device)
        return self

    def targets(self, batch: Batch) -> ByteTargets:
        """The distribution of every byte that the batch asks for.

        Left out are bytes of the last token of a document's part, which may be cut, parts that
        the tokenizer cannot spell, and bytes before which the text is impossible to the model.
        """
        found = [one for stretch in self._stretches(batch) for one in self._of_stretch(stretch)]
        sums = np.array([of_byte for _, of_byte in found]).reshape(-1, BYTE_COUNT)
        probabilities = (sums / sums.sum(axis=1, keepdims=True)).astype(np.float32)
        device = self._model.lm_head.weight.device
        return ByteTargets(
            rows=torch.tensor([row for row, _ in found], dtype=torch.int64, device=device),
            probabilities=torch.from_numpy(probabilities).to(device),
            weight=self._weight,
        )

    def _of_stretch(self, stretch: Stretch) -> Iterator[tuple[int, Float64[np.ndarray, " 256"]]]:
        """Rows of the batch, and the probabilities of the tokens that go on with each byte."""
        if not len(stretch.rows):
            return
        try:
            read = self._reading.read(stretch.text)
        except DataError:
            return
        said = self._probabilities(read.ids)
        tokens = np.searchsorted(read.starts, stretch.offsets, side="right") - 1
        for row, offset, token in zip(
            stretch.rows.tolist(), stretch.offsets.tolist(), tokens.tolist(), strict=True
        ):
            sums = self._of_byte(said[token], read, token, offset)
            if token < len(read.ids) - 1 and sums.any():
                yield row, sums

    def _of_byte(
        self, said: Float32[np.ndarray, " token"], read: ReadText, token: int, offset: int
    ) -> Float64[np.ndarray, " 256"]:
        """Of the byte at ``offset``, in a token of which the bytes before it are known."""
        depth = offset - int(read.starts[token])
        spelled = self._of_token[int(read.ids[token]) - COMPRESSED_OFFSET]
        places = self._spellings.range_of(spelled[:depth])
        next_bytes = self._spellings.byte_at(depth)[places]
        goes_on = next_bytes >= 0
        return np.bincount(next_bytes[goes_on], said[places][goes_on], minlength=BYTE_COUNT)

    @torch.no_grad()
    def _probabilities(self, ids: Ids) -> Float32[np.ndarray, "position token"]:
        """Of the token at each position, in the order of ``Spellings``."""
        device, prefix = self._model.lm_head.weight.device, self._reading.prefix
        fed = torch.from_numpy(np.concatenate([prefix, ids[:-1]])).to(device)
        hidden = self._model.hidden(fed[None])[0, len(prefix) - 1 :]
        count = len(self._of_token)
        rows = self._model.lm_head.weight[COMPRESSED_OFFSET : COMPRESSED_OFFSET + count]
        said = torch.softmax((hidden @ rows.t()).float(), dim=-1).cpu().numpy()
        ordered: Float32[np.ndarray, "position token"] = said[:, self._spellings.order]
        return ordered

    def _stretches(self, batch: Batch) -> Iterator[Stretch]:
        length = batch.inputs.shape[1]
        for context, (ids, segments) in enumerate(
            zip(batch.inputs, batch.segment_ids, strict=True)
        ):
            borders = [0, *(np.flatnonzero(np.diff(segments)) + 1).tolist(), length]
            for start, end in pairwise(borders):
                part = slice(start, end)
                targets = batch.targets[context, part, 0]
                yield self._stretch(ids[part], targets, context * length + start)

    def _stretch(
        self, ids: Int[np.ndarray, " n"], targets: Int[np.ndarray, " n"], start: int
    ) -> Stretch:
        pieces, lengths = [], np.zeros(len(ids), dtype=np.int64)
        for at, symbol in enumerate(ids.tolist()):
            pieces.append(self._bytes_of(symbol))
            lengths[at] = len(pieces[-1])
        begins = np.cumsum(lengths) - lengths
        raw = (targets >= RAW_OFFSET) & (targets < COMPRESSED_OFFSET)
        asked = np.flatnonzero(raw[:-1] & (targets[:-1] == ids[1:]))
        return Stretch(b"".join(pieces), asked + start, begins[asked + 1])

    def _bytes_of(self, symbol: int) -> bytes:
        if symbol >= COMPRESSED_OFFSET:
            return self._of_token[symbol - COMPRESSED_OFFSET]
        return bytes([symbol - RAW_OFFSET]) if symbol >= RAW_OFFSET else b""
