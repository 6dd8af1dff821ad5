"""Where a continuation ends: the one place with all stop strings.

The lists are those of EvalPlus's direct completion, without its textual end-of-text markers
(bytes of a document never stand for special symbols here). Nothing else is cut, and nothing is
repaired: neither indentation nor encoding (docs/evaluation.md, "Generating").
"""

from __future__ import annotations

_ANY_PROGRAM = (b"\nif __name__", b"\ndef main(", b"\nprint(")

FUNCTION_BODY = (
    b"\ndef ",
    b"\nclass ",
    b"\nimport ",
    b"\nfrom ",
    b"\nassert ",
    *_ANY_PROGRAM,
)
"""For prompts that end inside a function: it ends where something else begins at the margin."""

WHOLE_PROGRAM = (b'\n"""', b"\nassert", *_ANY_PROGRAM)
"""For programs that may have several functions: it ends where the next program would begin."""
