"""Updates of the rows of raw bytes alone, while all that a model of tokens knows stays."""

from __future__ import annotations

from proxylm.models.language_model import LanguageModel
from proxylm.symbols import COMPRESSED_OFFSET


def keep_byte_gradients(model: LanguageModel) -> None:
    """Drop every gradient but those of the rows of special symbols and raw bytes.

    The optimizer then leaves everything else where it is, but for the weight decay of an output
    layer of its own.
    """
    embedding, output = model.model.embed_tokens.weight, model.lm_head.weight
    for parameter in model.parameters():
        if parameter is not embedding and parameter is not output:
            parameter.grad = None
        elif parameter.grad is not None:
            by_head = parameter.grad.unflatten(0, (-1, model.config.vocabulary_size))
            by_head[:, COMPRESSED_OFFSET:] = 0
