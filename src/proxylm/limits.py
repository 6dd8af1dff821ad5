"""Sizes that several commands refuse in one line, because planning for them would exhaust memory.

They are far beyond any use: the paper's longest run has 80 000 steps, its contexts 16 384 symbols.
"""

from __future__ import annotations

MAX_STEPS = 10_000_000
MAX_CONTEXT = 1 << 24
