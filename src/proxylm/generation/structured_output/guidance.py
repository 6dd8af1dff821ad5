"""Regular expressions, JSON schemas and grammars over the bytes, by the llguidance engine.

The engine is made for tokenizers; its vocabulary here is the 256 bytes and an end symbol, so that
what it allows are bytes. A text that has to end (nothing may follow) ends there.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from proxylm.config import Config
from proxylm.errors import UsageError, needing_extra, one_line
from proxylm.generation.structured_output.contract import Allowed, StructuredOutputState
from proxylm.symbols import BYTE_COUNT

if TYPE_CHECKING:
    from types import ModuleType

    from llguidance import LLMatcher, LLTokenizer

_END = BYTE_COUNT
_WHITE_SPACE = r"[ ]|\r?\n[ \t]{0,16}"
"""Between the symbols of JSON: a blank, or a line break and its indentation. JSON itself has no
bound, and a model that likes blanks writes them to the limit."""
_ON_WHITE_SPACE = ("whitespace_pattern", "whitespace_flexible")


class _Grammar(Config):
    """Base of what the engine understands; checked where it is given."""

    @abstractmethod
    def engine_grammar(self) -> str:
        """The form that the engine compiles."""

    @model_validator(mode="after")
    def _compiles(self) -> _Grammar:
        problem = _engine().LLMatcher.validate_grammar(self.engine_grammar(), _byte_vocabulary())
        if problem:
            raise ValueError(one_line(problem))
        try:
            nothing = self.start().allowed(bytes_left=1).none
        except UsageError as error:
            raise ValueError(str(error)) from None
        if nothing:
            raise ValueError("no text of bytes satisfies it")
        return self

    def start(self) -> StructuredOutputState:
        """The state before the first byte."""
        return GuidanceState(_compiled(self.engine_grammar()).deep_copy())


class Regex(_Grammar):
    """The whole output matches a regular expression (Rust's syntax, without look-around)."""

    kind: Literal["regex"] = "regex"
    pattern: str

    def engine_grammar(self) -> str:
        """See the base class."""
        return str(_engine().LLMatcher.grammar_from_regex(self.pattern))


class JsonSchema(_Grammar):
    """The output is JSON that the schema ``definition`` accepts; ``{}`` accepts any.

    White space between its symbols is one blank, or a line break and up to 16 blanks or tabs; the
    schema's key ``x-guidance`` says otherwise (``{"whitespace_flexible": false}``: none).
    """

    kind: Literal["json-schema"] = "json-schema"
    definition: dict[str, Any]

    def engine_grammar(self) -> str:
        """See the base class."""
        try:
            text = json.dumps(self.definition)
        except RecursionError:
            raise ValueError("the schema is nested too deeply") from None
        own = self.definition.get("x-guidance")
        says_itself = isinstance(own, dict) and not own.keys().isdisjoint(_ON_WHITE_SPACE)
        spaced = {} if says_itself else {"whitespace_pattern": _WHITE_SPACE}
        return str(_engine().LLMatcher.grammar_from_json_schema(text, defaults=spaced))


class Grammar(_Grammar):
    """The output is a sentence of a context-free grammar (llguidance's form of Lark's syntax)."""

    kind: Literal["grammar"] = "grammar"
    text: str

    def engine_grammar(self) -> str:
        """See the base class."""
        return str(_engine().LLMatcher.grammar_from_lark(self.text))


StructuredOutput = Annotated[Regex | JsonSchema | Grammar, Field(discriminator="kind")]


class GuidanceState(StructuredOutputState):
    """One text on its way through a grammar."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def allowed(self, bytes_left: int) -> Allowed:
        """See the base class; the engine does not know the limit and may be cut off by it."""
        packed = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._require_no_error()
        values = np.unpackbits(packed, count=BYTE_COUNT, bitorder="little").astype(bool)
        return Allowed(values, may_end=self._matcher.is_accepting())

    def advance(self, value: int) -> None:
        """See the base class."""
        taken = self._matcher.consume_token(value)
        self._require_no_error()
        assert taken, "the byte was not among those allowed"

    def _require_no_error(self) -> None:
        if self._matcher.is_error():
            reason = one_line(self._matcher.get_error())
            raise UsageError(f"structured output: beyond the engine, or accepts nothing ({reason})")


def _engine() -> ModuleType:
    with needing_extra("structured output", "structured"):
        import llguidance
    return llguidance


@lru_cache(maxsize=64)
def _compiled(engine_grammar: str) -> LLMatcher:
    """Before its first byte; to be copied, for to compile takes longer."""
    return _engine().LLMatcher(_byte_vocabulary(), engine_grammar, log_level=0)


@cache
def _byte_vocabulary() -> LLTokenizer:
    engine = _engine()
    return engine.LLTokenizer(engine.TokenizerWrapper(_Bytes()))


class _Bytes:
    """The 256 bytes as the engine wants a tokenizer described."""

    def __init__(self) -> None:
        self.tokens = [bytes([value]) for value in range(BYTE_COUNT)] + [b"<end>"]
        self.special_token_ids = [_END]
        self.eos_token_id = _END
        self.bos_token_id = None

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)
