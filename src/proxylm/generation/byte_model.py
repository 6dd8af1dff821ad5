"""``ByteModel``: a trained model as its users see it, bytes in and bytes out.

It wraps a ``LanguageModel`` without owning any method of its own: decoding, scoring and logits
are the library's, called with the model in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor

from proxylm.compressors.contract import Compressor
from proxylm.errors import UsageError
from proxylm.generation.decoding import Completion, complete, decode
from proxylm.generation.decoding_row import ByteDelta
from proxylm.generation.options import GenerationOptions, generation_options
from proxylm.generation.request import ByteRequest
from proxylm.inputs import as_documents
from proxylm.models.config import ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.scoring.prompts import stripped
from proxylm.scoring.read_as import MIXED, PromptEnd
from proxylm.scoring.readings import RawReading, reading_of

IntegerArray = Tensor | NDArray[np.integer]


class ByteModel:
    """A model that continues, and scores, raw bytes.

    Attributes:
        module: the ``LanguageModel`` itself (``torch.nn.Module``), in evaluation mode.
        config: its ``ModelConfig``.
        compressor_fingerprint: of the compressor it was trained with; None if that is unknown or
            there was none.
        data_fingerprint: of the data it was trained on; None where it was read from no checkpoint.
        checkpoint: name of the checkpoint it was read from; None where it was none.
        folder: that it was loaded from, which may have its compressor; None where it was none.
        reading: how prompts are read: as bytes, or mixed (``read_mixed``).

    Example, with random weights:

    >>> from proxylm.models.presets import preset
    >>> model = ByteModel(LanguageModel(preset("demo"), seed=1))
    >>> drawn = model.generate(b"def area(", max_new_bytes=8, temperature=1.0, seed=3)
    >>> len(drawn)
    8
    >>> drawn == b"".join(model.stream(b"def area(", max_new_bytes=8, temperature=1.0, seed=3))
    True
    """

    def __init__(
        self,
        module: LanguageModel,
        *,
        compressor_fingerprint: str | None = None,
        data_fingerprint: str | None = None,
        checkpoint: str | None = None,
        folder: Path | None = None,
        reading: RawReading | None = None,
    ) -> None:
        self.module = module.eval().requires_grad_(False)
        self.compressor_fingerprint = compressor_fingerprint
        self.data_fingerprint = data_fingerprint
        self.checkpoint = checkpoint
        self.folder = folder
        self.reading = reading or RawReading(sentinels=module.config.sentinels)

    @property
    def config(self) -> ModelConfig:
        """Sizes and kind of the model."""
        return self.module.config

    def with_reading(self, reading: RawReading) -> Self:
        """The same model with prompts read in another way; what it writes are bytes."""
        other = copy(self)
        other.reading = reading
        return other

    def read_mixed(self, compressor: Compressor | None = None) -> Self:
        """The same model with prompts read mixed: as symbols, and their end as bytes.

        The prompt is ``<bos> <compressed> symbols </compressed> <raw> bytes``, as in a training on
        pieces of documents: about ``rho`` times fewer symbols (``scoring.mixed``).

        >>> from proxylm.compressors.registry import load_compressor
        >>> from proxylm.models.presets import preset
        >>> model = ByteModel(LanguageModel(preset("demo", vocabulary_size=320 + 65792)))
        >>> mixed = model.read_mixed(load_compressor("units:bits=16"))
        >>> len(mixed.generate(b"def area(", max_new_bytes=8)) <= 8
        True

        Args:
            compressor: that of its training; None takes the one that its folder has or names.

        Raises:
            UsageError: there is none, it is not the model's, or it cannot be read so.
            DamagedFileError: what the folder has cannot be read.
        """
        from proxylm.checkpoints.run_data import compressor_of  # view stores: only here

        if compressor is None and self.folder is not None:
            compressor = compressor_of(self.folder)
        reading = reading_of(self, MIXED, compressor)
        assert isinstance(reading, RawReading), "its prompts end in bytes"
        return self.with_reading(reading)

    def generate(self, prompt: bytes, **options: Any) -> bytes:
        """The bytes that the model continues ``prompt`` with.

        The model reads ``<bos> <raw> prompt`` (an empty prompt: the prefix alone), or the prompt
        as its ``reading`` says, and writes raw bytes until it closes the text, a stop string is
        complete, or the limit is reached.

        Args:
            prompt: raw bytes.
            options: fields of ``GenerationOptions``, which says what each one means.

        Returns:
            The new bytes alone, without the prompt and without the stop string.

        Raises:
            UsageError: an option is out of its range, the prompt is no ``bytes``, or the model's
                vocabulary has no bytes.
            DamagedWeightsError: the model's output is not a number.
        """
        return b"".join(self.stream(prompt, **options))

    def stream(self, prompt: bytes, **options: Any) -> Iterator[bytes]:
        """As ``generate``, in non-empty pieces as soon as they are certain.

        A piece never holds part of a stop string that is later cut; it may end inside a UTF-8
        character (an incremental decoder of Python's ``codecs`` shows text).
        """
        deltas = self.deltas(prompt, generation_options(**options))
        return (delta.data for delta in deltas if delta.data)

    def deltas(self, prompt: bytes, options: GenerationOptions) -> Iterator[ByteDelta]:
        """As ``stream``, with the reason of the end on the last delta (which may be empty)."""
        given = as_documents([prompt], kind="prompt")
        return decode(self.module, self._requests(given, options, [0]))

    def generate_batch(self, prompts: Sequence[bytes], **options: Any) -> list[bytes]:
        """Continue many prompts together; lengths may differ.

        Row ``i`` draws with the sample number ``i`` (row 0 draws what ``generate`` draws), so
        equal prompts give different samples. Greedy rows are what ``generate`` gives, up to
        rounding: matrix products over many rows may round differently in the last bit.

        Returns:
            The new bytes of each prompt, in order.

        Raises:
            UsageError, DamagedWeightsError: as ``generate``.
        """
        return [one.data for one in self.complete(prompts, generation_options(**options))]

    def complete(
        self,
        prompts: Sequence[bytes],
        options: GenerationOptions,
        *,
        samples: Sequence[int] | None = None,
    ) -> list[Completion]:
        """As ``generate_batch``, with the reason of each end.

        Args:
            prompts: raw bytes.
            options: the same for all.
            samples: per prompt, the number its randomness depends on beside the seed and the
                position; by default its index.

        Raises:
            UsageError: also where there are not as many samples as prompts.
            DamagedWeightsError: the model's output is not a number.
        """
        given = as_documents(prompts, kind="prompt")
        numbers = range(len(given)) if samples is None else samples
        if len(numbers) != len(given):
            raise UsageError(f"{len(numbers)} sample numbers for {len(given)} prompts")
        return complete(self.module, self._requests(given, options, numbers))

    def _requests(
        self, prompts: Sequence[bytes], options: GenerationOptions, samples: Sequence[int]
    ) -> list[ByteRequest]:
        strips = options.prompt_end is PromptEnd.STRIP
        parts = [stripped(prompt) if strips else (prompt, b"") for prompt in prompts]
        # A prompt's samples follow each other.
        request_of = lru_cache(maxsize=1)(partial(self._request, options))
        pairs = zip(parts, samples, strict=True)
        return [replace(request_of(*part), sample=sample) for part, sample in pairs]

    def _request(self, options: GenerationOptions, prompt: bytes, end: bytes) -> ByteRequest:
        prefix, covered = self.reading.opened(prompt)
        return ByteRequest(prompt=prompt, end=end, options=options, prefix=prefix, covered=covered)

    def logits(
        self,
        ids: IntegerArray,
        segment_ids: IntegerArray | None = None,
        position_ids: IntegerArray | None = None,
    ) -> Float32[Tensor, "batch position heads vocabulary"]:
        """The model's logits for packed contexts.

        Args:
            ids: integers ``[B, N]`` of the shared vocabulary.
            segment_ids: integers ``[B, N]``; attention never crosses a change. None: one
                segment per row.
            position_ids: integers ``[B, N]``. None: counted from each segment's start.

        Returns:
            Of the shared heads; head ``k`` at position ``i`` is about the symbol at ``i + 1 + k``.

        Raises:
            UsageError: an array holds no integers or is not of shape ``[B, N]``, an id is outside
                the vocabulary, or a position is negative.
        """
        device = next(self.module.parameters()).device
        symbols = _integer_tensor("ids", ids, device)
        size = self.config.vocabulary_size
        if symbols.numel() and (int(symbols.min()) < 0 or int(symbols.max()) >= size):
            raise UsageError(f"ids: must be between 0 and {size - 1}, the model's vocabulary")
        documents, positions = (
            None if values is None else _integer_tensor(name, values, device, symbols.shape)
            for name, values in (("segment_ids", segment_ids), ("position_ids", position_ids))
        )
        if positions is not None and positions.numel() and int(positions.min()) < 0:
            raise UsageError(f"position_ids: must be 0 or more, not {int(positions.min())}")
        with torch.inference_mode():
            return self.module.logits(symbols, documents, positions)

    def bits_per_byte(
        self,
        documents: Sequence[bytes],
        *,
        context: int | None = None,
        stride: int | None = None,
    ) -> list[float]:
        """Bits per byte of each document, read as prompts are (method, section 9).

        ``proxylm.score`` has the definition, and more; ``context`` defaults to the model's
        training context and ``stride`` to half of it (read mixed, to stretches of 256 bytes).

        Raises:
            UsageError: a document is no bytes, an impossible context or stride, or the model has
                no bytes.
            DataError: a document is empty (nothing to divide by).
        """
        self.config.require_raw_bytes()
        from proxylm.scoring.score import score  # corpora and view stores: only here

        found = score(self, documents, self.reading, context=context, stride=stride)
        return found.per_document.tolist()


def _integer_tensor(
    name: str, values: IntegerArray, device: torch.device, shape: torch.Size | None = None
) -> Tensor:
    try:
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):  # text; rows of different lengths
        raise UsageError(f"{name}: expected integers of shape [B, N]") from None
    no_integers = tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool
    if no_integers or tensor.dim() != 2:
        raise UsageError(
            f"{name}: expected integers of shape [B, N], got {tensor.dtype} "
            f"of shape {list(tensor.shape)}"
        )
    if shape is not None and tensor.shape != shape:
        raise UsageError(f"{name}: shape {list(tensor.shape)} differs from ids {list(shape)}")
    return tensor.to(device=device, dtype=torch.int64)
