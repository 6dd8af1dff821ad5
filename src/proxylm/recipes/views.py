"""What makes the views of a recipe's stores: a corpus, and compressors trained on it.

Plain values of a scale's file; ``artifacts`` trains them, once for all recipes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from proxylm.compressors.neural.settings import NeuralSettings
from proxylm.compressors.token_bytes import TokenBytesSettings
from proxylm.compressors.tokenizer.training import TokenizerTraining
from proxylm.config import Config, plain_config
from proxylm.corpus.config import STANDARD_LIBRARY, CorpusConfig
from proxylm.corpus.contract import Corpus
from proxylm.corpus.left_out import LeftOut
from proxylm.corpus.opening import as_corpus, open_corpus
from proxylm.corpus.split import sample
from proxylm.fingerprint import fingerprint_of


class CorpusChoice(Config):
    """What stands for a corpus of the paper's.

    Attributes:
        files: the documents.
        docstrings: of Python files, their docstrings alone: natural language without any download.
        max_bytes: about so many bytes of documents, chosen by hash; None takes all.
    """

    files: CorpusConfig = CorpusConfig(path=STANDARD_LIBRARY)
    docstrings: bool = False
    max_bytes: PositiveInt | None = None

    def open(self) -> Corpus:
        """The documents, in memory.

        Raises:
            DataError: there is nothing at the path, or no document in it.
        """
        documents = list(open_corpus(self.files).documents(LeftOut()))
        whole = sum(len(one.raw) for one in documents)
        chosen = sample(documents, total_bytes=whole, wanted_bytes=self.max_bytes or whole)
        found = [(one.id, _docstrings(one.raw) if self.docstrings else one.raw) for one in chosen]
        return as_corpus([(name, raw) for name, raw in found if raw])

    @property
    def fingerprint(self) -> str:
        """Names the choice and the files that it is made from."""
        return _fingerprint(self.model_dump_json())


@cache  # the files are read to hash them
def _fingerprint(choice: str) -> str:
    config = CorpusChoice.model_validate_json(choice)
    return fingerprint_of(plain_config(config), open_corpus(config.files).fingerprint)


def _docstrings(raw: bytes) -> bytes:
    """The docstrings of a module in their order; nothing where it is no Python."""
    try:
        tree = ast.parse(raw)
    except (SyntaxError, ValueError):
        return b""
    return "\n\n".join(_docstrings_in(tree)).encode()


def _docstrings_in(tree: ast.AST) -> Iterator[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and (text := ast.get_docstring(node)):
            yield text + "\n"


class TokenizerView(Config):
    """Tokens of a tokenizer that is trained on the corpus."""

    kind: Literal["tokenizer"] = "tokenizer"
    training: TokenizerTraining


class TokenBytesView(Config):
    """Tokens of another view's tokenizer, written as bytes."""

    kind: Literal["token-bytes"] = "token-bytes"
    tokenizer: str
    settings: TokenBytesSettings = TokenBytesSettings()


class NeuralView(Config):
    """A neural compressor.

    Attributes:
        preset: of its byte LM (``byte_lm_training.RECIPES``).
        model: fields of that LM's sizes in place of the preset's.
        symbols: of the LM's training; None is the preset's.
        contexts: ``long`` or ``short`` (``byte_lm.training_contexts``).
        lm_of: another view, whose LM is taken; then none is trained.
        settings: segmentation and coder.
    """

    kind: Literal["neural"] = "neural"
    preset: str = "tiny"
    model: dict[str, int] = Field(default_factory=dict)
    symbols: PositiveInt | None = None
    contexts: Literal["long", "short"] = "long"
    lm_of: str | None = None
    settings: NeuralSettings = NeuralSettings()


class ReadyView(Config):
    """A compressor that needs no training, by its name (``gzip``, ``units:bits=4``) or folder."""

    kind: Literal["ready"] = "ready"
    name: str


ViewChoice = Annotated[
    TokenizerView | TokenBytesView | NeuralView | ReadyView, Field(discriminator="kind")
]
