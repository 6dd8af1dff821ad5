"""An evaluation's folder: its settings, and samples and verdicts as JSON lines.

    settings.json     what the samples depend on beside the prompts: weights, reading, draws
    samples.jsonl     one completion a line, whole batches at a time
    verdicts.jsonl    one verdict a line

A line is there whole or is no line: what a kill left of the last one is cut off, and the work goes
on after it. Each line ends with a hash of the rest of it, so that a flipped bit is found, also
inside a completion. A completion that is not valid UTF-8 stands as base64, byte for byte.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import xxhash

from proxylm.errors import DamagedFileError, ProxylmError, UsageError
from proxylm.files import named_write, read_json, remove_temporaries, require_utf8, write_json
from proxylm.generation.decoding import Finish
from proxylm.training.run_folder import differences

SETTINGS_FILE = "settings.json"
SAMPLES_FILE = "samples.jsonl"
VERDICTS_FILE = "verdicts.jsonl"
LOCK_FILE = ".lock"
HASH = "xxh3_64"

Line = TypeVar("Line")
Value = TypeVar("Value", str, int)


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class SampleKey:
    """Which completion: of which form of the prompts, which problem, the how-manieth."""

    condition: str
    task_id: str
    sample: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One completion; ``prompt`` is the fingerprint of what it continues and where it ends."""

    key: SampleKey
    prompt: str
    completion: bytes
    finish: Finish

    def to_json(self) -> dict[str, Any]:
        """The line's object."""
        return {
            **asdict(self.key),
            "prompt": self.prompt,
            **_bytes_json(self.completion),
            "finish": self.finish.value,
        }

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Sample:
        """The completion that a line holds."""
        return cls(
            key=_key_of(line),
            prompt=_field(line, "prompt", str),
            completion=_bytes_of(line),
            finish=Finish(line["finish"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedSample:
    """One verdict; ``fingerprint`` is that of all that it depends on (see ``judging``)."""

    key: SampleKey
    fingerprint: str
    status: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """The line's object."""
        verdict = {"job": self.fingerprint, "status": self.status, "reason": self.reason}
        return {**asdict(self.key), **verdict}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> JudgedSample:
        """The verdict that a line holds."""
        return cls(
            key=_key_of(line),
            fingerprint=_field(line, "job", str),
            status=_field(line, "status", str),
            reason=_field(line, "reason", str),
        )


class EvaluationFolder:
    """Samples and verdicts of one model under one set of settings; use ``opened_folder``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def samples(self) -> dict[SampleKey, Sample]:
        """What has been generated so far; of doubles, the last."""
        lines = _read_lines(self.path / SAMPLES_FILE, Sample.from_json)
        return {sample.key: sample for sample in lines}

    def verdicts(self) -> dict[SampleKey, JudgedSample]:
        """What has been judged so far; of doubles, the last."""
        lines = _read_lines(self.path / VERDICTS_FILE, JudgedSample.from_json)
        return {judged.key: judged for judged in lines}

    def add_samples(self, samples: Iterable[Sample]) -> None:
        """Write samples and wait until the disk has them."""
        _append(self.path / SAMPLES_FILE, (sample.to_json() for sample in samples))

    def add_verdicts(self, verdicts: Iterable[JudgedSample]) -> None:
        """Write verdicts and wait until the disk has them."""
        _append(self.path / VERDICTS_FILE, (judged.to_json() for judged in verdicts))


@contextmanager
def opened_folder(path: Path, settings: Mapping[str, Any]) -> Iterator[EvaluationFolder]:
    """Hold an evaluation's folder for this process; a new one is created.

    Args:
        path: the folder.
        settings: plain values that all its samples depend on.

    Raises:
        UsageError: it holds samples made with other settings (old → new is shown), or other files.
        ProxylmError: another process is evaluating in it.
    """
    require_utf8(path)
    if path.is_file():
        raise UsageError(f"{path}: is a file; --out names a folder")
    path.mkdir(parents=True, exist_ok=True)
    with (path / LOCK_FILE).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ProxylmError(f"{path}: another evaluation is at work here; wait for it") from None
        remove_temporaries(path)
        _check_settings(path, settings)
        for name in (SAMPLES_FILE, VERDICTS_FILE):
            _cut_torn_line(path / name)
        yield EvaluationFolder(path)


def _check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    recorded = path / SETTINGS_FILE
    if recorded.exists():
        changed = differences(read_json(recorded), settings)
        if changed:
            raise UsageError(
                f"{path}: holds samples made with other settings ({'; '.join(changed)}); choose "
                "another --out, or remove the folder"
            )
        return
    others = sorted(file.name for file in path.iterdir() if file.name != LOCK_FILE)
    if others:
        raise UsageError(f"{path}: is not empty and no evaluation's (it holds {others[0]})")
    write_json(recorded, dict(settings))


def _read_lines(path: Path, parse: Callable[[Mapping[str, Any]], Line]) -> list[Line]:
    if not path.exists():
        return []
    parsed = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            parsed.append(parse(_checked(json.loads(line))))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise DamagedFileError(
                f"{path}:{number}: damaged line; remove it, and what it held is made anew"
            ) from None
    return parsed


def _checked(line: Any) -> Mapping[str, Any]:
    """A line's object without its hash, if that fits the rest."""
    if not isinstance(line, dict):
        raise TypeError("line")
    content = {name: value for name, value in line.items() if name != HASH}
    if line[HASH] != _hash(content):
        raise ValueError(HASH)
    return content


def _hash(content: Mapping[str, Any]) -> str:
    return xxhash.xxh3_64_hexdigest(json.dumps(content).encode("ascii"))


def _append(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps({**line, HASH: _hash(line)}) + "\n" for line in lines)
    with named_write(path), path.open("ab") as stream:
        stream.write(text.encode("ascii"))
        stream.flush()
        os.fsync(stream.fileno())


def _cut_torn_line(path: Path) -> None:
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("r+b") as stream:
            stream.truncate(whole)


def _key_of(line: Mapping[str, Any]) -> SampleKey:
    return SampleKey(
        condition=_field(line, "condition", str),
        task_id=_field(line, "task_id", str),
        sample=_field(line, "sample", int),
    )


def _field(line: Mapping[str, Any], name: str, kind: type[Value]) -> Value:
    value = line[name]
    if type(value) is not kind:
        raise TypeError(name)
    return value


def _bytes_json(data: bytes) -> dict[str, str]:
    try:
        return {"completion": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"completion_base64": base64.b64encode(data).decode("ascii")}


def _bytes_of(line: Mapping[str, Any]) -> bytes:
    if "completion" in line:
        return _field(line, "completion", str).encode("utf-8")
    return base64.b64decode(_field(line, "completion_base64", str), validate=True)
