"""The rules that a configuration can name, by ``kind``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxylm.compressors.neural.segmentation.automaton import AutomatonSegmentation
from proxylm.compressors.neural.segmentation.entropy import EntropySegmentation
from proxylm.compressors.neural.segmentation.fixed import FixedSegmentation
from proxylm.compressors.neural.segmentation.lines import LineSegmentation

Segmentation = Annotated[
    EntropySegmentation | FixedSegmentation | LineSegmentation | AutomatonSegmentation,
    Field(discriminator="kind"),
]
