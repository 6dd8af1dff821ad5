"""ReCode's layout from a folder and from its archive, with what the release leaves to repair."""

from __future__ import annotations

import gzip
import shutil
import tarfile
from pathlib import Path

import pytest
import zstandard

from benchmark_data import RECODE, full_data
from proxylm.errors import DataError, UsageError
from proxylm.evaluation.recode.folder import FAMILIES, load_recode


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RECODE, tmp_path / "recode"))


def variants(path: Path, family: str) -> Path:
    return path / "perturbed_finalized" / "humaneval" / "full" / family


def test_families_perturbations_and_seeds() -> None:
    data = load_recode(RECODE)
    assert [one.family.title for one in data] == ["Function", "Format", "Syntax", "Docstring"]
    assert {name: len(seeds) for one in data for name, seeds in one.perturbations.items()} == {
        "FuncRenameButterFinger": 2,
        "FuncRenameCamelCase": 1,
        "new_lines": 2,
        "tab_indent": 1,
        "DeadCodeInserter": 1,
        "VarRenamerRN": 2,
        "BackTranslation": 1,
        "ButterFingersPerturbation": 2,
    }
    function, formats, syntax, docstring = data
    assert function.nominal.problems == docstring.nominal.problems
    assert formats.nominal.problems == syntax.nominal.problems
    assert b"    for e in l:\n" in formats.nominal.problems[0].prompt
    assert b"    for e in l:\n" not in function.nominal.problems[0].prompt
    renamed = function.perturbations["FuncRenameCamelCase"][0].problems[1]
    assert renamed.entry_point == "incrList"
    assert b"def incrList(" in renamed.prompt


def test_only_the_first_seeds_are_read(copy: Path) -> None:
    [one] = [one for one in load_recode(copy, seeds=1) if one.family.title == "Format"]
    assert len(one.perturbations["new_lines"]) == 1
    (variants(copy, "format") / "humaneval_new_lines_s1.jsonl").rename(
        variants(copy, "format") / "humaneval_new_lines_s10.jsonl"
    )
    (variants(copy, "format") / "humaneval_new_lines_s10.jsonl").write_text("not read")
    load_recode(copy, seeds=1)
    with pytest.raises(UsageError, match="seeds: must be at least 1"):
        load_recode(copy, seeds=0)


def test_solutions_fit_their_prompts() -> None:
    _, formats, syntax, _ = load_recode(RECODE)
    [tabbed] = formats.perturbations["tab_indent"]
    assert tabbed.problems[0].solution == b"\t\tif e > m:\n\t\t\tm = e\n\treturn m\n"
    [dead_code] = syntax.perturbations["DeadCodeInserter"]
    assert dead_code.problems[0].solution.startswith(b"        if e > m:\n")
    for data in (formats, syntax):
        for seeds in data.perturbations.values():
            for problem in (problem for one in seeds for problem in one.problems):
                compile(problem.prompt + problem.solution, problem.task_id, "exec")


@pytest.mark.parametrize("inside", ["", "recode-main/"])
def test_the_archive_is_the_folder(tmp_path: Path, inside: str) -> None:
    path = tmp_path / "recode.tar.xz"
    with tarfile.open(path, "w:xz") as archive:
        archive.add(RECODE, arcname=inside or ".")
    assert load_recode(path) == load_recode(RECODE)


def test_the_archive_may_be_packed_as_corpora_may(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "recode.tar", "w") as archive:
        archive.add(RECODE, arcname=".")
    content = (tmp_path / "recode.tar").read_bytes()
    for packed in (zstandard.compress(content), gzip.compress(content) + b"\0" * 512):
        (tmp_path / "recode.packed").write_bytes(packed)
        assert load_recode(tmp_path / "recode.packed") == load_recode(RECODE)


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_a_flipped_byte_is_an_error_or_changes_nothing(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "recode.tar"
    with tarfile.open(path, f"w:{compression}") as archive:
        archive.add(RECODE, arcname=".")
    whole, data = load_recode(path), path.read_bytes()
    places = range(0, len(data), len(data) // 60)
    if not compression:  # which has checksums for headers alone
        with tarfile.open(path) as archive:
            places = [member.offset + 3 for member in archive] + [len(data) - 1]
    refused = 0
    for place in places:
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x20]) + data[place + 1 :])
        try:
            assert load_recode(path) == whole, f"byte {place}"
        except DataError:
            refused += 1
    assert refused > len(places) * 0.8
    for length in places[:-1]:
        path.write_bytes(data[:length])
        with pytest.raises(DataError):
            load_recode(path)


def test_problems_are_chosen_in_every_form() -> None:
    for one in load_recode(RECODE):
        chosen = one.select(limit=None, task_ids=["53"])
        forms = [
            chosen.nominal,
            *(form for seeds in chosen.perturbations.values() for form in seeds),
        ]
        assert {tuple(p.task_id for p in form.problems) for form in forms} == {("HumanEval/53",)}


def test_gaps_and_strays_are_not_passed_over(copy: Path) -> None:
    stray = copy / "old" / variants(copy, "format").relative_to(copy)
    stray.mkdir(parents=True)
    (stray / "humaneval_new_lines_s0.jsonl").write_text("not even JSON")
    assert load_recode(copy) == load_recode(RECODE)
    (variants(copy, "format") / "humaneval_new_lines_s0.jsonl").unlink()
    with pytest.raises(DataError, match="has no seed 0 of format/new_lines"):
        load_recode(copy)
    partial = copy / "nominal" / "humaneval_partial.jsonl"
    partial.write_text("".join(partial.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(DataError, match=r"humaneval_partial\.jsonl: holds other problems"):
        load_recode(copy)


def test_what_is_no_release_is_named(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: no such file or folder"):
        load_recode(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"not ReCode's layout .it has no nominal/HumanEval"):
        load_recode(tmp_path / "empty")
    (tmp_path / "cut.tar.xz").write_bytes(b"\xfd7zXZ\x00 and nothing else")
    with pytest.raises(DataError, match=r"cut\.tar\.xz: damaged xz stream"):
        load_recode(tmp_path / "cut.tar.xz")
    changed = variants(copy, "format") / "humaneval_new_lines_s0.jsonl"
    lines = changed.read_text().splitlines()
    changed.write_text("\n".join(lines[:2]))
    with pytest.raises(DataError, match=r"new_lines_s0.*holds other problems than the nominal"):
        load_recode(copy)
    shutil.rmtree(variants(copy, "natgen"))
    changed.write_text("\n".join(lines))
    with pytest.raises(DataError, match="no perturbation of the family natgen"):
        load_recode(copy)


@pytest.mark.long
def test_the_whole_release() -> None:
    data = load_recode(full_data("recode-humaneval.tar.xz"))
    assert [len(one.perturbations) for one in data] == [6, 6, 7, 10]
    assert len(FAMILIES) == 4
    for one in data:
        for seeds in one.perturbations.values():
            assert len(seeds) in (1, 5)
            assert all(len(form.problems) == 164 for form in seeds)
