"""The run folder: whose it is, one trainer at a time, the configuration it was started with.

A run folder holds ``config.yaml`` (resolved), ``metrics.jsonl``, ``tensorboard/``, ``checkpoints/``
and, of the stores' files that were found right, ``.verified/``. Running the same command on it
again goes on; anything else is refused in one line, so that no run silently changes and nobody's
files are touched. Of several ranks the first one does all of this for them.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from proxylm.checkpoints.checkpoint import CHECKPOINTS_FOLDER
from proxylm.checkpoints.run_data import CONFIG_FILE, read_run_config
from proxylm.config import Config, dump_config, plain_config
from proxylm.errors import UsageError
from proxylm.files import TEMPORARY_PREFIX, atomic_file, remove_temporaries, require_utf8
from proxylm.ranks import ALONE, Ranks

LOCK_FILE = ".lock"
STAMPS_FOLDER = ".verified"
SHOWN_DIFFERENCES = 5


@contextmanager
def opened_run(run: Path, config: Config, ranks: Ranks = ALONE) -> Iterator[None]:
    """Hold ``run`` for these ranks: create it, or check that it was started with ``config``.

    A new run's configuration is not written yet (``record_config``), so that a start that fails
    binds nobody to it.

    Raises:
        UsageError: ``run`` is not a run folder and not empty; another trainer holds it; or it was
            started with another configuration (the differences are shown, old → new).
    """
    with ExitStack() as held:
        with ranks.together():
            if ranks.is_first:
                held.enter_context(_held(run, config))
        yield


@contextmanager
def _held(run: Path, config: Config) -> Iterator[None]:
    require_run_folder(run)
    run.mkdir(parents=True, exist_ok=True)
    with _locked(run):
        remove_temporaries(run)
        remove_temporaries(run / CHECKPOINTS_FOLDER)
        if (run / CONFIG_FILE).is_file():
            _require_same_config(run, config)
        yield


def record_config(run: Path, config: Config) -> None:
    """Write a run's configuration, unless it is there; from here on the run is bound to it."""
    path = run / CONFIG_FILE
    if not path.is_file():
        with atomic_file(path) as temporary:
            temporary.write_text(dump_config(config), encoding="utf-8")


def require_run_folder(run: Path) -> None:
    """Refuse a path that is neither free, nor empty, nor a run.

    Raises:
        UsageError: naming what stands there; or its name is not UTF-8.
    """
    require_utf8(run)
    if run.exists() and not run.is_dir():
        raise UsageError(f"{run}: is a file; --out names the folder of a run")
    if not run.is_dir() or (run / CONFIG_FILE).is_file():
        return
    # A start that fails early leaves only its lock, stamps and temporary files.
    others = [
        path.name
        for path in sorted(run.iterdir())
        if path.name not in (LOCK_FILE, STAMPS_FOLDER)
        and not path.name.startswith(TEMPORARY_PREFIX)
    ]
    if others:
        raise UsageError(
            f"{run}: is not empty and not a run (it holds {others[0]}, no {CONFIG_FILE}); "
            "choose another folder"
        )


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """``key.sub: old → new`` for every value that differs between two plain configurations.

    >>> differences({"seed": 1, "model": {"width": 8}}, {"seed": 1, "model": {"width": 16}})
    ['model.width: 8 → 16']
    """
    before, after = dict(flat(old)), dict(flat(new))
    keys = list(dict.fromkeys([*after, *before]))
    return [
        f"{key}: {before.get(key, '(absent)')} → {after.get(key, '(absent)')}"
        for key in keys
        if key not in before or key not in after or before[key] != after[key]
    ]


@contextmanager
def _locked(run: Path) -> Iterator[None]:
    path = run / LOCK_FILE
    with path.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = path.read_text(encoding="utf-8", errors="replace").strip()
            raise UsageError(
                f"{run}: another trainer is at work in this folder ({holder or 'just started'}); "
                "wait for it or stop it"
            ) from None
        lock.truncate(0)
        lock.write(f"{_who_this_is()}\n".encode())
        lock.flush()
        # The system frees the lock when the process ends, however it ends.
        yield


def _who_this_is() -> str:
    """Host, process and, where a scheduler has started it, job: what to look for and stop."""
    job = os.environ.get("SLURM_JOB_ID") or os.environ.get("TORCHELASTIC_RUN_ID")
    who = f"host {socket.gethostname()}, process {os.getpid()}"
    return f"{who}, job {job}" if job else who


def _require_same_config(run: Path, config: Config) -> None:
    changed = differences(read_run_config(run), plain_config(config))
    if changed:
        shown = "; ".join(changed[:SHOWN_DIFFERENCES])
        more = len(changed) - SHOWN_DIFFERENCES
        raise UsageError(
            f"{run}: was started with another configuration ({shown}"
            f"{f'; and {more} more' if more > 0 else ''}); restore it to go on, or choose "
            "another --out (init_from starts a new run from these weights)"
        )


def flat(values: Any, between: str = ".", prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values inside mappings and lists, each with the names and places on the way to it.

    >>> list(flat({"model": {"width": 8}, "data": ["a"], "held_out": {}}))
    [('model.width', 8), ('data.0', 'a'), ('held_out', {})]
    """
    items = dict(enumerate(values)) if isinstance(values, list) else values
    if isinstance(items, Mapping) and items:
        for key, value in items.items():
            yield from flat(value, between, f"{prefix}{key}{between}")
    else:
        yield prefix.removesuffix(between), values
