"""``proxylm doctor``: what this machine has for proxylm, and how to get what it lacks."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from proxylm.cli.output import JsonOption, bars_or_lines, emit
from proxylm.errors import one_line
from proxylm.progress import told

LITTLE_DISK_BYTES = 5 * 10**9
"""Below this a training run on a laptop soon fills the disk with its checkpoints."""

EXTRAS = {
    "analysis": "charts of recipes, and how stable compressors are",
    "browser": "tests of the inspector's page in a browser",
    "datasets": "corpora from the Hugging Face hub",
    "docs": "the documentation as a site",
    "evaluation": "HumanEval, and the similarity of programs",
    "gguf": "models in llama.cpp's files",
    "hf": "exports loaded and trained by transformers",
    "inspect": "the inspector's page",
    "lm-eval": "tasks of the LM evaluation harness",
    "notebooks": "the example notebooks, run",
    "ray": "preparing on a Ray cluster",
    "sentencepiece": "sentencepiece models as compressors",
    "serve": "the server",
    "structured": "answers by a schema, a pattern or a grammar",
    "tensorboard": "metrics for TensorBoard",
    "wandb": "metrics for Weights & Biases",
}
"""What each optional group of packages is for."""


class State(StrEnum):
    """What a finding means for whoever reads it."""

    OK = "ok"
    LACKING = "lacking"  # something that can be had is not there; the rest works
    BROKEN = "broken"  # proxylm does not work without


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    about: str
    state: State = State.OK
    found: str
    remedy: str | None = None
    """What to do about it, where there is something to do."""


def doctor(json: JsonOption = False) -> int:
    """Say what is here: versions, cores, memory, GPU, disk, sandbox, and what is missing.

    What is missing comes with how to get it. Exit status 1 if something without which proxylm does
    not work is not right.

    Example: proxylm doctor
    """
    with bars_or_lines() as show:
        findings = [finding for look in told(LOOKS, "looks", show) for finding in _found(look)]
    broken = [one.about for one in findings if one.state is State.BROKEN]
    result = {"works": not broken, "findings": [asdict(one) for one in findings]}
    emit(result, as_json=json, text=_text(findings))
    return 1 if broken else 0


def _found(look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What a look finds; that it cannot be had where a package is not there."""
    try:
        yield from look()
    except ImportError as error:
        about = look.__name__.strip("_")
        yield Finding(about=about, state=State.BROKEN, found=f"not looked at: {one_line(error)}")


def _text(findings: list[Finding]) -> str:
    names, states = (max(map(len, each)) for each in ([one.about for one in findings], State))
    indent = " " * (states + names + 4)
    lines = []
    for one in findings:
        lines.append(f"{one.state:{states}}  {one.about:{names}}  {one.found}")
        if one.remedy:
            lines.append(f"{indent}-> {one.remedy}")
    return "\n".join(lines)


def _versions() -> Iterator[Finding]:
    from importlib import metadata

    system = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield Finding(about="proxylm", found=f"{metadata.version('proxylm')}, {system}")
    wrong = list(_unmet(None))
    yield Finding(
        about="packages",
        state=State.BROKEN if wrong else State.OK,
        found=", ".join(wrong)
        or f"all that are needed, torch {metadata.version('torch')} among them",
        remedy="pip install --upgrade proxylm" if wrong else None,
    )


def _unmet(extra: str | None) -> Iterator[str]:
    """The packages that an extra needs, or proxylm itself, and that are not there as asked for."""
    from importlib import metadata

    from packaging.requirements import Requirement

    for line in metadata.requires("proxylm") or ():
        needed = Requirement(line)
        marker = needed.marker
        if (marker is None) != (extra is None):
            continue
        if marker is not None and not marker.evaluate({"extra": extra or ""}):
            continue
        try:
            version = metadata.version(needed.name)
        except metadata.PackageNotFoundError:
            yield f"{needed.name} is not there"
            continue
        if not needed.specifier.contains(version, prereleases=True):
            yield f"{needed.name} {version} is not {needed.specifier}"


def _extras() -> Iterator[Finding]:
    for extra, purpose in EXTRAS.items():
        unmet = list(_unmet(extra))
        yield Finding(
            about=f"[{extra}]",
            state=State.LACKING if unmet else State.OK,
            found=f"{purpose}: {', '.join(unmet)}" if unmet else purpose,
            remedy=f"pip install 'proxylm[{extra}]'" if unmet else None,
        )


def _processors() -> Iterator[Finding]:
    import torch

    from proxylm.pool import available_memory, usable_cores

    cores, threads = usable_cores(), torch.get_num_threads()
    allowed = os.environ.get("OMP_NUM_THREADS")
    because = f" (OMP_NUM_THREADS={allowed})" if allowed else ""
    load = f" (load {os.getloadavg()[0]:.1f})" if hasattr(os, "getloadavg") else ""
    instructions = torch.backends.cpu.get_cpu_capability()
    yield Finding(
        about="processor",
        found=f"{cores} cores{load}; torch: {threads} threads{because}, {instructions}",
    )
    yield Finding(about="memory", found=f"{available_memory() / 1e9:.1f} GB available")


def _gpus() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            found = f"{card.name}, {card.total_memory / 1e9:.0f} GB"
            yield Finding(about=f"GPU {index}", found=found)
        return
    if torch.version.cuda is None:
        remedy = "for a GPU, install torch in a build for CUDA; the CPU does without"
        yield Finding(
            about="GPU", state=State.LACKING, found="torch is built for CPUs", remedy=remedy
        )
        return
    remedy = "see what nvidia-smi says of the driver; the CPU does without"
    yield Finding(about="GPU", state=State.LACKING, found="torch finds none", remedy=remedy)


def _disks() -> Iterator[Finding]:
    folders = {"disk, here": Path.cwd(), "disk, temporary": Path(tempfile.gettempdir())}
    for about, folder in folders.items():
        free = shutil.disk_usage(folder).free
        is_little = free < LITTLE_DISK_BYTES
        yield Finding(
            about=about,
            state=State.LACKING if is_little else State.OK,
            found=f"{free / 1e9:.1f} GB free in {folder}",
            remedy="make room: stores and checkpoints take gigabytes" if is_little else None,
        )


def _kernels() -> Iterator[Finding]:
    from proxylm.compiled import keeps_kernels

    kept = keeps_kernels()
    yield Finding(
        about="kernels",
        state=State.OK if kept else State.LACKING,
        found="kept once compiled" if kept else "compiled anew by every process",
        remedy=None if kept else "set NUMBA_CACHE_DIR to a folder that can be written",
    )


def _sandbox() -> Iterator[Finding]:
    from proxylm.sandbox.detection import tier_state
    from proxylm.sandbox.tiers import TIERS

    states = [tier_state(name) for name in TIERS]
    works = [one.name for one in states if one.lacking is None]
    for one in states:
        yield Finding(
            about=f"sandbox, {one.name}",
            state=State.LACKING if one.lacking else State.OK,
            found=one.lacking
            or ("used for generated programs" if one.name == works[0] else "works"),
            remedy=f"needed: {one.needs}" if one.lacking else None,
        )


LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _versions,
    _processors,
    _gpus,
    _disks,
    _kernels,
    _sandbox,
    _extras,
)
