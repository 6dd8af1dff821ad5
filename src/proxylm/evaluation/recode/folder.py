"""ReCode's released folder layout, from a folder or from its archive, HumanEval split.

    nominal/HumanEval.jsonl, nominal/humaneval_partial.jsonl
    perturbed_finalized/humaneval/full/<family>/humaneval_<Perturbation>_s<seed>.jsonl

``format`` and ``natgen`` change a prompt with half of the solution in it, so their nominal form
is the partial one. Nothing is unpacked.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from proxylm.corpus.unpacking import read_unpacked
from proxylm.errors import DataError, UsageError
from proxylm.evaluation.benchmarks.humaneval import NAME as HUMANEVAL
from proxylm.evaluation.benchmarks.humaneval import function_problem
from proxylm.evaluation.benchmarks.problem import Benchmark, Problem, benchmark_of
from proxylm.evaluation.benchmarks.records import parse_records
from proxylm.evaluation.benchmarks.stop_rules import FUNCTION_BODY

NAME = "recode"
DEFAULT_SEEDS = 5
NOMINAL_FILE = "nominal/HumanEval.jsonl"
PARTIAL_FILE = "nominal/humaneval_partial.jsonl"

_VARIANT = re.compile(r"perturbed_finalized/humaneval/full/(\w+)/humaneval_(\w+)_s(\d+)\.jsonl")
_SPLIT_MARKER = b"# print('@@this is the line to split##')\n"
_INDENT = b"    "


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family of perturbations.

    Attributes:
        folder: its name in the release.
        title: its name in papers.
        partial: whether its nominal form is the prompt with half of the solution.
    """

    folder: str
    title: str
    partial: bool


FAMILIES = (
    Family(folder="func_name", title="Function", partial=False),
    Family(folder="format", title="Format", partial=True),
    Family(folder="natgen", title="Syntax", partial=True),
    Family(folder="nlaugmenter", title="Docstring", partial=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyData:
    """A family's nominal prompts, and by perturbation the prompts of each seed."""

    family: Family
    nominal: Benchmark
    perturbations: Mapping[str, Sequence[Benchmark]]

    def select(self, *, limit: int | None, task_ids: Sequence[str]) -> FamilyData:
        """The same problems of every form; see ``Benchmark.select``."""
        return replace(
            self,
            nominal=self.nominal.select(limit=limit, task_ids=task_ids),
            perturbations={
                name: [one.select(limit=limit, task_ids=task_ids) for one in seeds]
                for name, seeds in self.perturbations.items()
            },
        )


def load_recode(path: Path, *, seeds: int = DEFAULT_SEEDS) -> list[FamilyData]:
    """The families of a release, each perturbation with its first ``seeds`` seeds.

    A perturbation that is not random has one.

    Args:
        path: the folder, or its ``.tar`` archive (compressed or not).
        seeds: ``s``, most seeds of each perturbation.

    Raises:
        UsageError: there is nothing at ``path``, or ``seeds`` is below 1.
        DataError: it is not ReCode's layout, is damaged, or its files hold different problems.
    """
    if seeds < 1:
        raise UsageError(f"seeds: must be at least 1, not {seeds}")
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    try:
        files = _folder_files(path) if path.is_dir() else _archive_files(path)
        return [_family(path, files, family, seeds) for family in FAMILIES]
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None


Files = Mapping[str, Callable[[], bytes]]
"""By path inside the layout, what reads the file."""


def _folder_files(root: Path) -> Files:
    paths = sorted(root.rglob("*.jsonl"))
    return _from_nominal(
        root, {path.relative_to(root).as_posix(): path.read_bytes for path in paths}
    )


def _archive_files(path: Path) -> Files:
    contents: dict[str, bytes] = {}
    data = read_unpacked(path)  # to the last byte: only there are checksums compared
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(".jsonl"):
                stream = archive.extractfile(member)
                assert stream is not None, "a plain file has content"
                contents[str(PurePosixPath(member.name))] = stream.read()
        rest = data[archive.offset :]
    # tarfile takes a damaged header for the end; the true one is blocks of zeros.
    if len(rest) < tarfile.BLOCKSIZE or any(rest):
        raise DataError(f"{path}: is damaged after {len(contents)} of its files")
    return _from_nominal(path, {name: text.__bytes__ for name, text in contents.items()})


def _from_nominal(path: Path, files: Files) -> Files:
    """Names counted from the folder that holds ``nominal/``, wherever it lies."""
    for name in files:
        if name.endswith(NOMINAL_FILE):
            root = name.removesuffix(NOMINAL_FILE)
            return {key.removeprefix(root): read for key, read in files.items()}
    raise DataError(f"{path}: is not ReCode's layout (it has no {NOMINAL_FILE})")


def _family(path: Path, files: Files, family: Family, seeds: int) -> FamilyData:
    nominal = _benchmark(path, files, NOMINAL_FILE)
    if family.partial:
        nominal = _benchmark(path, files, PARTIAL_FILE, like=nominal)
    found: dict[str, dict[int, str]] = {}
    for name in files:
        match = _VARIANT.fullmatch(name)
        if match and match[1] == family.folder:
            found.setdefault(match[2], {})[int(match[3])] = name
    if not found:
        raise DataError(f"{path}: has no perturbation of the family {family.folder}")
    for perturbation, by_seed in found.items():
        for seed in range(min(seeds, max(by_seed) + 1)):
            if seed not in by_seed:
                raise DataError(f"{path}: has no seed {seed} of {family.folder}/{perturbation}")
    perturbations = {
        perturbation: [
            _benchmark(path, files, by_seed[seed], like=nominal) for seed in sorted(by_seed)[:seeds]
        ]
        for perturbation, by_seed in sorted(found.items())
    }
    return FamilyData(family=family, nominal=nominal, perturbations=perturbations)


def _benchmark(path: Path, files: Files, name: str, like: Benchmark | None = None) -> Benchmark:
    origin = f"{path}/{name}"
    if name not in files:
        raise DataError(f"{path}: has no {name}")
    records = parse_records(files[name](), origin)
    problems = [fitted(function_problem(record)) for record in records]
    benchmark = benchmark_of(NAME, problems, FUNCTION_BODY, family=HUMANEVAL, origin=origin)
    if like is not None:
        ours, theirs = ([one.task_id for one in each.problems] for each in (benchmark, like))
        if ours != theirs:
            raise DataError(f"{origin}: holds other problems than the nominal file")
    return benchmark


def fitted(problem: Problem) -> Problem:
    """The problem with its canonical solution as it fits the prompt.

    The release leaves the comment at which it split solutions, and spaces where ``tab_indent``
    has made the prompt's indentation tabs.
    """
    solution = problem.solution.removeprefix(_SPLIT_MARKER)
    if b"\n\t" in problem.prompt and b"\t" not in solution:
        lines = solution.split(b"\n")
        solution = b"\n".join(_tabbed(line) for line in lines)
    return replace(problem, solution=solution)


def _tabbed(line: bytes) -> bytes:
    content = line.lstrip(b" ")
    depth, rest = divmod(len(line) - len(content), len(_INDENT))
    return b"\t" * depth + b" " * rest + content
