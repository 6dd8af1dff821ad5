"""``proxylm prepare`` as a process: output, errors, Ctrl-C, kills, a full disk, two at once."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proxylm.cli import output
from proxylm.cli.main import run
from proxylm.cli.prepare import split_name
from proxylm.compressors.registry import load_compressor, save_compressor
from proxylm.data.store.store import ViewStore

PART_BYTES = 50_000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """About 1.5 MB in 30 parts: long enough for kills to hit any phase of a run."""
    numbers = random.Random(3)
    path = tmp_path_factory.mktemp("corpus") / "lines.jsonl"
    words = ["def", "return", "é", "for", "in", "range", "\n", "    ", "0x1F", "日本"]
    with path.open("w") as stream:
        for _ in range(500):
            text = " ".join(numbers.choices(words, k=numbers.randrange(1, 1400)))
            stream.write(json.dumps({"text": text}) + "\n")
    return path


def command(corpus: Path, out: Path, workers: int) -> list[str]:
    options = f"--compressor gzip --compressor units:bits=4 --part-bytes {PART_BYTES}".split()
    return [
        *(str(Path(sys.executable).with_name("proxylm")), "prepare", "--corpus", str(corpus)),
        *("--out", str(out), "--workers", str(workers), *options),
    ]


def start(corpus: Path, out: Path, workers: int = 2, **options) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command(corpus, out, workers), **pipes, **options)


def finish(corpus: Path, out: Path, workers: int) -> None:
    process = start(corpus, out, workers)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def uninterrupted(corpus, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted") / "s"
    finish(corpus, out, workers=1)
    return out


def committed_files(out: Path) -> set[tuple[str, int]]:
    """Files of shards whose record is written: work that must not be lost."""
    files = set()
    for record in (out / ".prepare").glob("*/records/0*.json"):
        for path in out.glob(f"*-{record.stem}.arrow"):
            files.add((path.name, path.stat().st_ino))
    return files


def wait_until(condition, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.002)


def holders_of_lock(out: Path) -> list[str]:
    """Processes that still have the store's lock open."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if link.readlink() == out / ".lock":
                found.append(link.parts[2])
        except OSError:
            continue
    return found


def kill_many_times(corpus: Path, out: Path, kills: int) -> int:
    """Kill runs at random moments; returns how many kills hit a run while it wrote shards."""
    numbers, hits, committed = random.Random(kills), 0, set()
    for attempt in range(kills):
        process = start(corpus, out, workers=attempt % 3 + 1)
        if attempt % 4 != 3:  # most kills fall into the writing of shards, some anywhere else
            wait_until(lambda: committed_files(out) - committed or process.poll() is not None)  # noqa: B023
        time.sleep(numbers.uniform(0, 0.04))
        process.kill()
        process.communicate(timeout=30)
        wait_until(lambda: not holders_of_lock(out), seconds=10)
        now = {(path.name, path.stat().st_ino) for path in out.glob("*.arrow")}
        assert committed <= now, "a finished shard was written again"
        committed = committed_files(out)
        hits += bool(committed) and not (out / "manifest.json").exists()
    return hits


def test_kills_lose_nothing_change_nothing_and_leave_no_worker(corpus, uninterrupted, tmp_path):
    assert kill_many_times(corpus, tmp_path / "s", kills=3) >= 1
    finish(corpus, tmp_path / "s", workers=3)
    assert content(tmp_path / "s") == content(uninterrupted)
    ViewStore.open(tmp_path / "s", verify=True)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_hundred_kills(corpus, uninterrupted, tmp_path):
    for number in range(20):
        out = tmp_path / f"s{number}"
        kill_many_times(corpus, out, kills=5)
        finish(corpus, out, workers=number % 3 + 1)
        assert content(out) == content(uninterrupted)


def test_ctrl_c_is_one_line_and_leaves_no_process(corpus, uninterrupted, tmp_path):
    out = tmp_path / "s"
    process = start(corpus, out, workers=2, start_new_session=True)
    wait_until(lambda: list(out.glob("*.arrow")))
    assert holders_of_lock(out)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it as well
    started = time.monotonic()
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() - started < 5
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1].startswith("proxylm: interrupted; run again")
    assert "Traceback" not in errors
    wait_until(lambda: not holders_of_lock(out), seconds=5)
    assert not list(out.glob(".partial-*"))
    finish(corpus, out, workers=1)
    assert content(out) == content(uninterrupted)


def test_a_killed_worker_is_an_error_that_can_be_gone_on_from(corpus, uninterrupted, tmp_path):
    out = tmp_path / "s"
    process = start(corpus, out, workers=2)
    wait_until(lambda: len(holders_of_lock(out)) >= 3)
    worker = next(number for number in holders_of_lock(out) if int(number) != process.pid)
    os.kill(int(worker), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "a worker was killed" in errors.splitlines()[-1]
    finish(corpus, out, workers=2)
    assert content(out) == content(uninterrupted)


def test_a_full_disk_stops_with_one_line_and_leaves_the_store_as_it_was(
    corpus, uninterrupted, tmp_path
):
    out = tmp_path / "s"
    limit = 40_000  # less than one raw shard

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    without = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}  # no cut-off compiled modules
    process = start(corpus, out, workers=2, preexec_fn=small_disk, env=without)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert "File too large" in errors.splitlines()[-1]
    assert not list(out.glob("*.arrow")) + list(out.glob(".partial-*"))
    shutil.copytree(uninterrupted, tmp_path / "finished")
    add = [*command(corpus, tmp_path / "finished", 2), "--compressor", "bytes=units:bits=8"]
    process = subprocess.run(add, capture_output=True, text=True, preexec_fn=small_disk, timeout=60)
    assert process.returncode == 1
    before, after = content(uninterrupted), content(tmp_path / "finished")
    assert {name: after[name] for name in before} == before


def test_two_at_once_is_refused(corpus, tmp_path):
    out = tmp_path / "s"
    first = start(corpus, out, workers=1)
    wait_until(lambda: list(out.glob("*.arrow")))
    first.send_signal(signal.SIGSTOP)
    second = start(corpus, out, workers=1)
    _, errors = second.communicate(timeout=60)
    first.kill()
    first.communicate(timeout=30)
    assert second.returncode == 2
    assert "another prepare is writing here" in errors.splitlines()[-1]


def test_json_is_alone_on_stdout(uninterrupted, capfd, tmp_path, monkeypatch):
    monkeypatch.setattr(output, "SECONDS_BEFORE_LINES", 0.0)
    monkeypatch.setattr(output, "SECONDS_BETWEEN_LINES", 0.0)
    out = tmp_path / "s"
    arguments = ["prepare", "--corpus", str(Path(__file__)), "--out", str(out), "--json"]
    assert run([*arguments, "--compressor", "a=gzip", "--workers", "1"]) == 0
    captured = capfd.readouterr()
    assert captured.out.count("\n") == 1
    result = json.loads(captured.out)
    assert result["documents_in"] == result["documents_written"] == 1
    assert result["num_bytes"] == Path(__file__).stat().st_size
    assert result["views"]["a"]["bytes_per_symbol"] > 1
    assert "fill: " in captured.err


def test_the_readable_summary_accounts_for_every_document(tmp_path, capfd):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"t": "one"}\n{"t": ""}\nnonsense\n')
    arguments = [
        "prepare",
        "--corpus",
        str(path),
        "--text-field",
        "t",
        "--out",
        str(tmp_path / "s"),
    ]
    assert run([*arguments, "--compressor", "units:bits=8", "--held-out", "1"]) == 0
    text = capfd.readouterr().out
    assert "documents in 3 = written 1 + rejected 2" in text
    assert "1 empty (first: " in text
    assert "held out: 1 documents" in text
    assert "units  units  256        3         1.000" in text


def test_what_is_skipped_by_rule_stands_in_the_summary_and_the_store(tmp_path, capfd):
    corpus = tmp_path / "corpus"
    (corpus / ".git").mkdir(parents=True)
    for name in ("a.py", "b.txt", "c.zip"):
        (corpus / name).write_bytes(b"PK\x03\x04" if name == "c.zip" else b"text")
    out = tmp_path / "s"
    assert run(["prepare", "--corpus", str(corpus), "--pattern", "[ac]*", "--out", str(out)]) == 0
    text = capfd.readouterr().out
    assert "skipped by rule: 1 hidden, 1 unmatched" in text
    assert "documents in 2 = written 1 + rejected 1\n  1 packed (first: c.zip): unpack it" in text
    assert run(["prepare", "--out", str(out), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["skipped"] == {"hidden": 1, "unmatched": 1}


def test_a_folder_of_both_is_one_line_until_one_is_chosen(tmp_path, capfd):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "a.jsonl").write_bytes(b'{"text": "one"}\n{"text": "two"}\n')
    (corpus / "b.py").write_bytes(b"x = 1\n")
    arguments = ["prepare", "--corpus", str(corpus), "--out", str(tmp_path / "s")]
    assert run(arguments) == 1
    errors = capfd.readouterr().err
    assert "1 of 2 files hold records (JSON lines; first: a.jsonl)" in errors
    assert errors.count("\n") == 1
    assert run([*arguments, "--files", "records"]) == 0
    text = capfd.readouterr().out
    assert "2 documents" in text and "skipped by rule: 1 not_records" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--compressor", "nothing"], "no such folder or file"),
        (["--compressor", "gzip", "--compressor", "gzip=units:bits=4"], "two views are named"),
        (["--held-out", "2"], "held-out fraction 2.0: give a number from 0 to 1"),
        (["--workers", "0"], "workers 0: give at least 1"),
        (["--corpus", "stdlib", "--invalid-utf8", "maybe"], "prepare: --invalid-utf8: "),
        (["--corpus", "stdlib", "--files", "lines"], "prepare: --files: "),
        (["--compressor", "raw=gzip"], "is not 'raw'"),
        (["--pattern", "*.py"], "--pattern: goes with --corpus; give both"),
    ],
)
def test_wrong_use_is_status_2_and_one_line(arguments, message, tmp_path, capfd):
    assert run(["prepare", "--out", str(tmp_path / "s"), *arguments]) == 2
    errors = capfd.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "s").exists() or not list((tmp_path / "s").glob("*.json"))


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("gzip", ("gzip", "gzip")),
        ("units:bits=4", ("units", "units:bits=4")),
        ("small=units:bits=4", ("small", "units:bits=4")),
        ("runs/bpe", ("bpe", "runs/bpe")),
        ("runs/bpe/", ("bpe", "runs/bpe/")),
        ("runs/bpe/tokenizer.json", ("bpe", "runs/bpe/tokenizer.json")),
        ("mine=runs/bpe", ("mine", "runs/bpe")),
        # What exists is a path, whatever it looks like.
        ("lr=0.1", ("lr=0.1", "lr=0.1")),
        ("lr=0.1/", ("lr=0.1", "lr=0.1/")),
        ("mine=lr=0.1", ("mine", "lr=0.1")),
        ("lr=0.2", ("lr", "0.2")),
        ("units:bits=2", ("units:bits=2", "units:bits=2")),
        ("x" * 300, ("x" * 300, "x" * 300)),
    ],
)
def test_a_view_is_named_after_its_compressor(argument, expected, tmp_path, monkeypatch):
    (tmp_path / "runs" / "bpe").mkdir(parents=True)
    for name in ("lr=0.1", "units:bits=2"):
        (tmp_path / name).mkdir()
    (tmp_path / "runs" / "bpe" / "tokenizer.json").touch()
    monkeypatch.chdir(tmp_path)
    assert split_name(argument) == expected


def test_an_existing_path_is_no_named_view(corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_compressor(load_compressor("gzip:level=1"), Path("lr=0.1"))
    store = ["prepare", "--corpus", str(corpus), "--out", "s", "--workers", "1", "--compressor"]
    assert run([*store, "lr=0.1"]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "view 'lr=0.1': a name has letters" in message and "NAME=PATH" in message
    assert run([*store, "mine=lr=0.1"]) == 0
    assert ViewStore.open(tmp_path / "s").view_names == ["mine"]


NOTHING_TO_READ = [
    ('{"body": "x"}\n', r"1 missing_text (first: a.jsonl:1: there are: 'body'): ", "--text-field"),
    ('{"text": 3}\n', "1 wrong_text_type (first: a.jsonl:1: found int): ", "--text-field"),
    ('[{"text": "a"},\n{"text": "b"}]', "2 invalid_json (first: a.jsonl:1: ", "jq -c '.[]'"),
    ('[{"text": "a"}]\n\n', "1 empty (first: a.jsonl:2: blank line); 1 invalid_json", "jq -c"),
    ('{"text": "' + "x" * 200 + '"}\n', "1 too_long (first: a.jsonl:1: 212 bytes): ", "--max-doc"),
]


@pytest.mark.parametrize(("content", "reason", "option"), NOTHING_TO_READ)
def test_a_corpus_without_documents_fails_with_its_reasons_and_what_helps(
    tmp_path, capsys, content, reason, option
):
    (tmp_path / "a.jsonl").write_text(content)
    command = ["prepare", "--corpus", str(tmp_path / "a.jsonl"), "--out", str(tmp_path / "s")]
    assert run([*command, "--workers", "1", "--max-document-bytes", "100"]) == 1
    captured = capsys.readouterr()
    (line,) = [one for one in captured.err.splitlines() if one.startswith("proxylm: ")]
    assert f"no documents; left out: {reason}" in line and option in line
    assert captured.out == ""


def test_a_better_command_takes_the_folder_of_one_that_found_nothing(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"body": "found"}\n')
    out = tmp_path / "s"
    command = ["prepare", "--corpus", str(tmp_path / "a.jsonl"), "--out", str(out)]
    assert run([*command, "--workers", "1", "--compressor", "units"]) == 1
    assert [path.name for path in out.iterdir()] == [".lock"]
    better = ["--compressor", "gzip", "--text-field", "body", "--held-out", "0"]
    assert run([*command, "--workers", "1", *better]) == 0
    assert ViewStore.open(out, verify=True).document_count == 1


def test_some_left_out_are_listed_with_what_helps(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n[]\n{"body": "x"}\n')
    command = ["prepare", "--corpus", str(tmp_path / "a.jsonl"), "--out", str(tmp_path / "s")]
    assert run([*command, "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    assert "documents in 3 = written 1 + rejected 2\n  1 invalid_json (first: a.jsonl:2" in shown
    assert "(first: a.jsonl:3: there are: 'body'): name the documents' field with" in shown
    assert run([*command, "--workers", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rejected"] == {
        "invalid_json": 1,
        "missing_text": 1,
    }
