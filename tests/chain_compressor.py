"""A neural compressor that is built in a second: a random byte LM beside a chain's automaton.

Its parts only have to fit together: cuts come from the LM, codes from the automaton of a Markov
chain that goes by the LM's name. Codes of engines that read the LM are therefore others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.neural.byte_lm.model import ByteLM
from proxylm.compressors.neural.coder.automaton import Automaton
from proxylm.compressors.neural.coder.automaton_build import build_automaton
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.neural.compressor import NeuralCompressor
from proxylm.compressors.neural.settings import NeuralSettings
from small_models import ATTENTIONS, small_model

TEXT = (
    b"import os\n\n\ndef area(radius):\n    return 3 * radius * radius\n\n\n"
    b"class Circle:\n    def __init__(self, radius):\n        self.radius = radius\n"
)
DOCUMENTS = [TEXT, b"", b"x", TEXT[20:] * 3, bytes(range(256)), b"    return self.radius\n" * 9]


class MarkovChain:
    """Each byte depends on the one before: one of 64, as good as evenly, apart from a few habits.

    So few bytes are likely that 16 bits hold some thousand strings; the habits make long ones.
    """

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        alphabet = sorted(set(TEXT) | set(range(ord("0"), ord("0") + 44)))[:64]
        rows = np.full((257, 256), 1e-6)
        rows[:, alphabet] = 1 / len(alphabet)
        for before, byte in zip(b"radiu ", b"adius ", strict=True):
            rows[before] *= 0.2
            rows[before, byte] += 0.8
        self._rows = rows / rows.sum(axis=1, keepdims=True)

    def next_probabilities(self, strings: Sequence[bytes]) -> NDArray[np.float64]:
        return self._rows[[string[-1] if string else 256 for string in strings]]

    def canonical(self, string: bytes) -> NDArray[np.float64]:
        return self._rows[[256, *string]]

    def probabilities(self, strings: Sequence[bytes]) -> list[NDArray[np.float64]]:
        return [self.canonical(string) for string in strings]


@cache
def random_lm() -> ByteLM:
    """Random weights; its distributions are not far from uniform."""
    model = small_model(
        sharpness=1.0,
        attention=ATTENTIONS["causal"],
        vocabulary_size=320,
        sentinels=False,
        prediction_heads=1,
    )
    return ByteLM(model, device="cpu")


@cache
def chain_automaton(coder: CoderSettings) -> Automaton:
    """The chain's automaton, in the name of ``random_lm``."""
    return build_automaton(MarkovChain(random_lm().fingerprint), coder)


def chain_compressor(segmentation: str = "entropy", **coder: object) -> NeuralCompressor:
    """A fitted compressor; without windows of 16 bits it has no automaton."""
    values = {"segmentation": {"kind": segmentation}, "coder": coder}
    settings = NeuralSettings.model_validate(values)
    automaton = chain_automaton(settings.coder) if settings.coder.window_bits == 16 else None
    fitted = settings.fitted(DOCUMENTS, random_lm(), automaton)
    return NeuralCompressor(random_lm(), fitted, automaton=automaton)
