r"""Expressions that cut texts into words, for tokenizer files that do not say it themselves.

A ``.tiktoken`` file holds ranks only, and OpenCoder's tokenizer cuts each text before its
sentencepiece model sees it. What cuts is named by the user, stands in ``pattern.txt`` beside the
file, or follows from the ``tokenizer_class`` of a ``tokenizer_config.json`` beside it. Each
library reads the expression with its own engine, so a name belongs to one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from proxylm.errors import DamagedFileError
from proxylm.files import read_json

PATTERN_FILE = "pattern.txt"
TRANSFORMERS_CONFIG = "tokenizer_config.json"

_R50K = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
_O200K_WORD = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_O200K_REST = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_O200K_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"

RANK_PATTERNS: dict[str, str] = {
    "r50k_base": _R50K,
    "p50k_base": _R50K,
    "cl100k_base": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
        r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
    "o200k_base": (
        rf"{_O200K_WORD}*{_O200K_REST}+{_O200K_SUFFIX}|{_O200K_WORD}+{_O200K_REST}*{_O200K_SUFFIX}"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}
"""What tiktoken's own encodings cut with, by their names."""

MODEL_PATTERNS: dict[str, str] = {
    "opencoder": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+\s+(\S)+"
    )
}
"""What is put before a sentencepiece model: OpenCoder's, which is INF's (``INFLMTokenizer``)."""

_CLASSES = {"INFLMTokenizer": "opencoder"}
"""Classes of transformers that cut texts before the model: their pattern's name."""


def expression(pattern: str, names: Mapping[str, str]) -> str:
    """The expression behind a pattern's name; what is no name is an expression itself."""
    return names.get(pattern, pattern)


def pattern_beside(file: Path) -> str | None:
    """The pattern (a name or an expression) that the folder of a tokenizer file says, or None.

    Raises:
        DamagedFileError: what says it cannot be read.
    """
    beside = file.with_name(PATTERN_FILE)
    if beside.is_file():
        try:
            return beside.read_bytes().decode().removesuffix("\n")
        except ValueError as error:
            raise DamagedFileError(f"{beside}: not UTF-8 ({error})") from None
    config = file.with_name(TRANSFORMERS_CONFIG)
    if not config.is_file():
        return None
    values = read_json(config)
    return _CLASSES.get(str(values.get("tokenizer_class"))) if isinstance(values, dict) else None
