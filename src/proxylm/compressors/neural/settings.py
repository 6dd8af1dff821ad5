"""What a neural compressor is, beside its byte LM: how documents are cut and coded."""

from __future__ import annotations

from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.neural.segmentation.rules import EntropySegmentation, Segmentation
from proxylm.config import Config


class NeuralSettings(Config):
    """Saved with the compressor; with the LM and the automaton it defines the symbols.

    Attributes:
        segmentation: the rule that cuts documents, with its thresholds once they are fitted.
        coder: windows, packing and termination.
    """

    segmentation: Segmentation = EntropySegmentation()
    coder: CoderSettings = CoderSettings()
