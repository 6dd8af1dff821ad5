"""Errors a user can cause: one clear line each, with the exit status the command line gives.

Everything that bad input, a wrong option or a damaged file can trigger raises a subclass of
``ProxylmError`` whose message names the file, key or row and what to do. Our own mistakes stay
``assert`` or ordinary exceptions and keep their traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def one_line(reason: object) -> str:
    """What another library says, all of it on one line, however many lines it takes there.

    >>> one_line(ValueError("regex parse error:\\n    (\\n    ^\\nerror: unclosed group"))
    'regex parse error: ( ^ error: unclosed group'
    """
    text = " ".join(str(reason).split())
    return text or type(reason).__name__


def shortened(text: str, characters: int = 100) -> str:
    """What a user gave, short enough to be shown in a line.

    >>> shortened("seed=1111", 6)
    'seed=1…'
    """
    return text if len(text) <= characters else f"{text[:characters]}…"


@contextmanager
def needing_extra(what: str, extra: str) -> Iterator[None]:
    """For imports of packages that ``what`` needs and that only our ``extra`` installs.

    Raises:
        UsageError: one is not there; says what to install.
    """
    try:
        yield
    except ImportError as error:
        missing = error.name or one_line(error)
        raise UsageError(f"{what} needs {missing}: pip install 'proxylm[{extra}]'") from None


class ProxylmError(Exception):
    """Something outside the program is wrong; the message is one line for the user."""

    exit_status = 1
    told_elsewhere = False
    """Whether another process of the same run says it, so that this one need not."""


class UsageError(ProxylmError):
    """A command or a configuration was used wrongly (unknown key, impossible value)."""

    exit_status = 2


class DataNotAtHandError(UsageError):
    """Data is needed that no file was given for; the message says where it was looked for."""


class DataError(ProxylmError):
    """A corpus, a view store or a document cannot be used as it is."""


class DamagedFileError(DataError):
    """A file is truncated, altered or of a foreign format; the message names it."""


class CannotWriteError(ProxylmError):
    """A file or folder cannot be written: the disk is full, say. Nothing half-written is left.

    Attributes:
        path: what cannot be written.
        reason: why, in the system's words.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)  # as they are given: workers send their errors pickled
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return (
            f"{self.path}: cannot be written ({self.reason}); free some space or choose another "
            "place, and run the same command again"
        )


class CheckpointError(ProxylmError):
    """A checkpoint or a run folder cannot be loaded or continued."""


class DamagedWeightsError(CheckpointError):
    """A model computes what is not a number."""

    def __init__(self) -> None:
        super().__init__(
            "the model's output is not a number: its weights are damaged, or its training "
            "diverged; load an earlier checkpoint"
        )
