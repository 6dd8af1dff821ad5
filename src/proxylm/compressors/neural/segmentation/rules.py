"""The rules that a configuration can name, by ``kind``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxylm.compressors.neural.segmentation.automaton import AutomatonSegmentation
from proxylm.compressors.neural.segmentation.entropy import EntropySegmentation
from proxylm.compressors.neural.segmentation.simple import FixedSegmentation, LineSegmentation

Segmentation = Annotated[
    EntropySegmentation | FixedSegmentation | LineSegmentation | AutomatonSegmentation,
    Field(discriminator="kind"),
]
