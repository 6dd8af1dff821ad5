"""What a neural compressor is, beside its byte LM: how documents are cut and coded.

Read by commands before they do any work, so neither torch nor numba comes in here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field

from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.neural.flat_documents import FlatDocuments
from proxylm.compressors.neural.segmentation.automaton import AutomatonSegmentation
from proxylm.compressors.neural.segmentation.contract import Fitting
from proxylm.compressors.neural.segmentation.entropy import EntropySegmentation
from proxylm.compressors.neural.segmentation.simple import FixedSegmentation, LineSegmentation
from proxylm.config import Config
from proxylm.progress import TellCount, untold

if TYPE_CHECKING:
    from proxylm.compressors.neural.byte_lm.model import ByteLM
    from proxylm.compressors.neural.coder.automaton import Automaton


Segmentation = Annotated[
    EntropySegmentation | FixedSegmentation | LineSegmentation | AutomatonSegmentation,
    Field(discriminator="kind"),
]
"""The rules that a configuration can name, by ``kind``."""


class NeuralSettings(Config):
    """Saved with the compressor; with the LM and the automaton it defines the symbols.

    Attributes:
        segmentation: the rule that cuts documents, with its thresholds once they are fitted.
        coder: windows, packing and termination.
    """

    segmentation: Segmentation = EntropySegmentation()
    coder: CoderSettings = CoderSettings()

    def fitted(
        self,
        sample: Sequence[bytes],
        lm: ByteLM,
        automaton: Automaton | None,
        progress: TellCount = untold,
    ) -> Self:
        """The settings with the thresholds of a sample of training documents.

        ``progress`` hears how many bytes of it are read.

        Raises:
            UsageError: the segmentation needs an automaton, and there is none.
            DataError: the sample is too small.
        """
        found = FlatDocuments.of(sample)
        on = Fitting(sample=found, lm=lm, automaton=automaton, progress=progress)
        return self.model_copy(update={"segmentation": self.segmentation.fitted(on)})
