"""``proxylm evaluate bpb`` on files, folders and stores."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

import proxylm
from proxylm.cli.main import run as run_command
from proxylm.compressors.registry import load_compressor
from proxylm.scoring.readings import CompressedReading
from proxylm.scoring.score import score
from small_models import save_run, save_small_run, small_model
from units_store import DOCUMENTS, write_units_store

TEXTS = {"a.txt": b"first file\n", "b.txt": b"\xff\xfe" * 40}
UNITS = "units:bits=8"
TOKENS_OF = ("--read-as", "tokens", "--compressor")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "small"
    save_small_run(
        folder, seed=6, sharpness=8, compressor_fingerprint=load_compressor(UNITS).fingerprint
    )
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in TEXTS.items():
        (tmp_path / name).write_bytes(text)
    return tmp_path


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict:
    assert run_command(["evaluate", "bpb", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_files_and_their_total(run: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = evaluate(capsys, run, folder)
    expected = proxylm.load(run).bits_per_byte(list(TEXTS.values()))
    rows = result["documents"]
    assert [row["bits_per_byte"] for row in rows] == pytest.approx(expected, rel=1e-6)
    assert [row["raw_bytes"] for row in rows] == [len(text) for text in TEXTS.values()]
    total = result["total"]
    assert total["bits"] == pytest.approx(sum(row["bits"] for row in rows))
    assert total["bits_per_byte"] == pytest.approx(total["bits"] / total["raw_bytes"])
    assert result["read_as"] == "bytes"
    assert result["about"]["run"] == str(run)
    assert result["about"]["checkpoint"] == "step-00000010"


@pytest.mark.parametrize("reading", [[], [*TOKENS_OF, UNITS]])
def test_weights_that_are_no_numbers_are_one_line(
    tmp_path: Path, folder: Path, reading: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    made = small_model()
    made.lm_head.weight.data.fill_(float("nan"))
    damaged = tmp_path / "damaged"
    save_run(damaged, made)
    arguments = ["evaluate", "bpb", str(damaged), str(folder / "a.txt"), *reading]
    assert run_command([*arguments, "--json"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("proxylm: the model's output is not a number: its weights are")
    assert output.err.count("\n") == 1


def test_windows_and_limits_are_passed_on(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    windows = {"context": 16, "stride": 5}
    [expected] = proxylm.load(run).bits_per_byte([TEXTS["b.txt"]], **windows)
    options = ["--context", "16", "--stride", "5"]
    result = evaluate(capsys, run, folder / "b.txt", *options)
    assert result["total"]["bits_per_byte"] == pytest.approx(expected, rel=1e-6)
    assert len(evaluate(capsys, run, folder, "--limit-bytes", "3")["documents"]) == 1


def test_the_result_says_how_it_was_read(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = proxylm.load(run).config.context
    about = evaluate(capsys, run, folder / "b.txt")["about"]
    assert (about["context"], about["stride"]) == (context, context // 2)
    assert (about["store"], about["held_out"], about["limit_bytes"]) == (None, False, None)
    options = ["--context", "16", "--stride", "5", "--limit-bytes", "9"]
    about = evaluate(capsys, run, folder / "b.txt", *options)["about"]
    assert (about["context"], about["stride"], about["limit_bytes"]) == (16, 5, 9)


def test_a_file_that_cannot_be_read_does_not_cost_the_others(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = gzip.compress(b'{"text": "one"}\n' * 100)
    (folder / "z.jsonl.gz").write_bytes(whole[:-12])
    expected = evaluate(capsys, run, *(folder / name for name in sorted(TEXTS)))
    assert expected["complete"]
    assert run_command(["evaluate", "bpb", str(run), str(folder), "--json"]) == 1
    output = capsys.readouterr()
    result = json.loads(output.out)
    whole_files = len(expected["documents"])
    assert result["documents"][:whole_files] == expected["documents"]
    assert {row["raw_bytes"] for row in result["documents"][whole_files:]} == {3}
    assert not result["complete"]
    assert "z.jsonl.gz" in output.err.splitlines()[-1]


def test_reading_as_a_compressor(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reading = CompressedReading(load_compressor(UNITS))
    expected = score(proxylm.load(run), [TEXTS["a.txt"]], reading).per_document
    options = [*TOKENS_OF, UNITS]
    result = evaluate(capsys, run, folder / "a.txt", *options)
    assert result["total"]["bits_per_byte"] == pytest.approx(expected[0], rel=1e-6)


def test_the_table_names_every_file(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty").touch()
    assert run_command(["evaluate", "bpb", str(run), str(folder)]) == 0
    output = capsys.readouterr()
    assert all(name in output.out for name in (*TEXTS, "total", "bits per byte"))
    assert "left out: 1 empty" in output.err


def test_the_total_comes_first_and_rows_go_into_a_file(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, rows = tmp_path / "docs.jsonl", tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"text": "number {n}"}}\n' for n in range(25)))
    result = evaluate(capsys, run, path, "--rows", rows)
    written = [json.loads(line) for line in rows.read_text().splitlines()]
    assert (len(written), result["document_count"], len(result["documents"])) == (25, 25, 20)
    assert written[:20] == result["documents"]
    assert sum(row["bits"] for row in written) == pytest.approx(result["total"]["bits"])
    few = evaluate(capsys, run, path, "--limit-documents", 3, "--rows", rows)
    assert (few["document_count"], few["about"]["limit_documents"]) == (3, 3)
    assert few["total"]["raw_bytes"] == sum(row["raw_bytes"] for row in written[:3])
    assert len(rows.read_text().splitlines()) == 3
    assert run_command(["evaluate", "bpb", str(run), str(path), "--shown", "2"]) == 0
    output = capsys.readouterr()
    _, _, total, *documents = output.out.splitlines()
    assert total.startswith("total ") and len(documents) == 2
    assert "the first 2 of 25 documents are shown; --rows FILE keeps all" in output.err
    command = ["evaluate", "bpb", str(run), str(path), "--rows", str(tmp_path / "no" / "rows")]
    assert run_command(command) == 1
    assert str(tmp_path / "no" / "rows") in capsys.readouterr().err


def test_json_lines_score_their_documents_not_the_file(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [json.dumps({"text": text, "body": "x"}) for text in ("one\n", "two é", "")]
    path = tmp_path / "docs.jsonl"
    path.write_text("\n".join([*lines, "{broken", ""]))
    result = evaluate(capsys, run, path)
    assert [row["name"] for row in result["documents"]] == [f"{path}:1", f"{path}:2"]
    expected = proxylm.load(run).bits_per_byte([b"one\n", "two é".encode()])
    found = [row["bits_per_byte"] for row in result["documents"]]
    assert found == pytest.approx(expected, rel=1e-6)
    assert result["left_out"] == {"empty": 1, "invalid_json": 1}
    body = evaluate(capsys, run, path, "--text-field", "body")
    assert [row["raw_bytes"] for row in body["documents"]] == [1, 1, 1]
    assert run_command(["evaluate", "bpb", str(run), str(path), "--text-field", "content"]) == 1
    assert "no record has a field 'content'" in capsys.readouterr().err


def test_stores_by_split_and_view(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_units_store(tmp_path / "store")
    arguments = [run, "--store", tmp_path / "store"]
    model = proxylm.load(run)
    whole = evaluate(capsys, *arguments)
    expected = model.bits_per_byte(DOCUMENTS)
    assert [row["bits_per_byte"] for row in whole["documents"]] == pytest.approx(expected, rel=1e-6)
    [held_out] = evaluate(capsys, *arguments, "--held-out")["documents"]
    assert (held_out["name"], held_out["bits"]) == ("d2", pytest.approx(expected[2]))

    expected = score(model, DOCUMENTS, load_compressor(UNITS)).per_document
    for option in (["--read-as", "units"], ["--read-as", "tokens"], [*TOKENS_OF, UNITS]):
        rows = evaluate(capsys, *arguments, *option)["documents"]
        assert [row["bits_per_byte"] for row in rows] == pytest.approx(expected, rel=1e-6)

    for view, status, message in [("lossy", 2, "it is lossy"), ("none", 1, "no view 'none'")]:
        assert run_command(["evaluate", "bpb", *map(str, arguments), "--read-as", view]) == status
        assert message in capsys.readouterr().err


def test_a_store_with_a_flipped_bit_is_not_scored(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_units_store(tmp_path / "store")
    [raw] = (tmp_path / "store").glob("raw-*.arrow")
    content = bytearray(raw.read_bytes())
    content[len(content) // 2] ^= 1
    raw.write_bytes(content)
    assert run_command(["evaluate", "bpb", str(run), "--store", str(tmp_path / "store")]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert raw.name in output.err
    assert output.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give files or folders"),
        (["no-such-file"], "no such file or folder"),
        (["{folder}", "--store", "{folder}"], "and not both"),
        (["{folder}", "--held-out"], "--held-out needs --store"),
        (["{folder}", "--read-as", "bytes", "--compressor", UNITS], "bytes need none"),
        (["{folder}", "--stride", "0"], "stride: must be between"),
        (["{folder}", *TOKENS_OF, "units:bits=4"], "and this one is"),
        (["{folder}", *TOKENS_OF, "units:bits=16"], "has room for 256"),
        (["{folder}", *TOKENS_OF, "no-such-compressor"], "no-such-compressor"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(
    run: Path,
    folder: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    filled = [argument.format(folder=folder) for argument in arguments]
    assert run_command(["evaluate", "bpb", str(run), *filled]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert output.err.count("\n") == 1


def test_nothing_but_empty_files_is_an_error(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").touch()
    assert run_command(["evaluate", "bpb", str(run), str(tmp_path / "empty")]) == 1
    message = f"no document to score; left out: 1 empty (first: {tmp_path / 'empty'})"
    assert message in capsys.readouterr().err


def test_records_that_are_too_long_are_counted_and_the_option_is_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_text('{"text": "one"}\n{"text": "three words more"}\n')
    command = ["evaluate", "bpb", str(run), str(path), "--max-document-bytes"]
    assert run_command([*command, "20", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["left_out"] == {"too_long": 1}
    told = f"documents left out: 1 too_long (first: {path}:2: 28 bytes): raise max_document_bytes"
    assert told in captured.err
    assert run_command([*command, "2"]) == 1
    assert "no document to score; left out: 2 too_long" in capsys.readouterr().err
