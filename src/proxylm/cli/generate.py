"""``proxylm generate``: continue a prompt, bytes in and bytes out."""

from __future__ import annotations

import base64
import codecs
import json as json_module
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli.options import Flags, options, was_given, with_values
from proxylm.cli.output import JsonOption, emit, note, stdout_errors
from proxylm.cli.reading import (
    NO_DRAFTER,
    PROMPTING,
    DeviceOption,
    DrafterOption,
    RunArgument,
    WeightsOption,
    loaded_model,
    read_by,
)
from proxylm.errors import UsageError
from proxylm.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxylm.generation.decoding_row import ByteDelta
    from proxylm.generation.options import GenerationOptions, SymbolOptions
    from proxylm.scoring.read_as import ReadAs

DRAWING = ("temperature", "top_p", "seed", "stop")


@options(
    bounds=Flags(
        "proxylm.generation.options:GenerationOptions",
        ("max_new_bytes", *DRAWING, "utf8"),
        panel="Sampling",
    ),
    symbols=Flags(
        "proxylm.generation.options:SymbolOptions", ("max_new_symbols",), panel="Sampling"
    ),
    reading=PROMPTING,
)
def generate(
    model: RunArgument,
    bounds: GenerationOptions,
    symbols: SymbolOptions,
    reading: ReadAs,
    prompt: Annotated[str | None, typer.Option(help="The text to continue; may be empty.")] = None,
    prompt_file: Annotated[
        Path | None, typer.Option(help="Read the prompt's bytes from this file.")
    ] = None,
    regex: Annotated[
        str | None, typer.Option(help="The output matches this regular expression.")
    ] = None,
    json_schema: Annotated[
        Path | None, typer.Option(help="The output is JSON that the schema in this file accepts.")
    ] = None,
    grammar: Annotated[
        Path | None, typer.Option(help="The output is a sentence of this file's Lark grammar.")
    ] = None,
    drafter: DrafterOption = NO_DRAFTER,
    device: DeviceOption = "auto",
    weights: WeightsOption = "f32",
    json: JsonOption = False,
) -> None:
    """Continue a prompt byte by byte and print the new bytes as they come.

    The prompt is --prompt, --prompt-file, or what is piped in. On a terminal the new bytes are
    shown as text, with U+FFFD for what is not UTF-8 and escapes for control characters; into a
    pipe or a file they go exactly as they are. With --json the object carries both: "text", and
    "bytes_base64" for the exact bytes.

    With --drafter lookup what came before after the same bytes is drafted, and head 0 verifies
    several bytes in one pass: the bytes are the same, and come faster where drafts are often right.
    With chain or tree the model's further heads draft.

    Example: proxylm generate runs/demo/proxy --prompt "def area(radius):" --max-new-bytes 80
    """
    from proxylm.generation.drafts import drafter_named
    from proxylm.generation.token_reading import TokenReading
    from proxylm.scoring.read_as import BYTES, MIXED
    from proxylm.scoring.readings import CompressedReading, RawReading

    ends = {} if reading.prompt_end is None else {"prompt_end": reading.prompt_end}
    chosen = with_values(
        bounds,
        origin="generate",
        drafter=drafter_named(drafter),
        structured_output=_structured_output(regex, json_schema, grammar),
        **ends,
    )
    if reading.read_as not in (BYTES, MIXED):
        _check_tokens(chosen)
    elif was_given(symbols, "max_new_symbols"):
        raise UsageError("--max-new-symbols is for --read-as tokens: give --max-new-bytes")
    given = _read_prompt(prompt, prompt_file)
    loaded = loaded_model(model, device=device, weights=weights)
    found = read_by(loaded, model, reading)
    if isinstance(found, CompressedReading):
        given_drawing = {name: getattr(chosen, name) for name in DRAWING}
        drawn = symbols.model_copy(update=given_drawing | ends)
        deltas = TokenReading(loaded, found.compressor).deltas(given, drawn)
    else:
        if drafter in ("chain", "tree") and loaded.config.target_heads == 1:
            note("this model has one head, which drafts nothing: try --drafter lookup")
        assert isinstance(found, RawReading), "what ends in no symbols ends in bytes"
        deltas = loaded.with_reading(found).deltas(given, chosen)
    if json:
        emit(_generate_object(given, deltas), as_json=True, text="")
    else:
        _stream_to_stdout(deltas)


def _check_tokens(chosen: GenerationOptions) -> None:
    if was_given(chosen, "max_new_bytes"):
        raise UsageError("--read-as tokens counts symbols: give --max-new-symbols")
    if chosen.is_structured or chosen.drafter:
        raise UsageError("--read-as tokens takes no structured output and no --drafter")


def _structured_output(
    regex: str | None, json_schema: Path | None, grammar: Path | None
) -> dict[str, Any] | None:
    """The one that was given, as ``GenerationOptions`` takes it."""
    if sum(given is not None for given in (regex, json_schema, grammar)) > 1:
        raise UsageError("give one of --regex, --json-schema and --grammar")
    if regex is not None:
        return {"kind": "regex", "pattern": regex}
    if json_schema is not None:
        return {"kind": "json-schema", "definition": _read_json(json_schema)}
    if grammar is not None:
        return {"kind": "grammar", "text": _read_text("--grammar", grammar)}
    return None


def _read_json(path: Path) -> Any:
    try:
        return json_module.loads(_read_text("--json-schema", path))
    except ValueError as error:
        raise UsageError(f"--json-schema {path}: not JSON ({error})") from None
    except RecursionError:
        raise UsageError(f"--json-schema {path}: nested too deeply") from None


def _read_text(option: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{option} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{option} {path}: not UTF-8 text") from None


def _read_prompt(prompt: str | None, prompt_file: Path | None) -> bytes:
    if prompt is not None and prompt_file is not None:
        raise UsageError("give --prompt or --prompt-file, not both")
    if prompt is not None:
        # The arguments' own bytes, whatever the locale made of them.
        return os.fsencode(prompt)
    if prompt_file is not None:
        try:
            return prompt_file.read_bytes()
        except OSError as error:
            raise UsageError(f"--prompt-file {prompt_file}: {error.strerror}") from None
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError('no prompt: give --prompt TEXT (may be ""), --prompt-file, or pipe one in')
    return sys.stdin.buffer.read()


def _stream_to_stdout(deltas: Iterator[ByteDelta]) -> None:
    as_text = sys.stdout.isatty()
    text = codecs.getincrementaldecoder("utf-8")(errors="replace")
    start = time.perf_counter()
    count = 0
    for delta in deltas:
        count += len(delta.data)
        with stdout_errors():
            if as_text:
                sys.stdout.write(printable(text.decode(delta.data), keep="\n\t"))
                sys.stdout.flush()
            else:
                sys.stdout.buffer.write(delta.data)
                sys.stdout.buffer.flush()
    if as_text:
        with stdout_errors():
            sys.stdout.write(printable(text.decode(b"", final=True), keep="\n\t") + "\n")
            sys.stdout.flush()
        note(f"{count} bytes, {count / (time.perf_counter() - start):.0f} bytes/s")


def _generate_object(prompt: bytes, deltas: Iterator[ByteDelta]) -> dict[str, Any]:
    start = time.perf_counter()
    taken = list(deltas)
    data, finish = b"".join(delta.data for delta in taken), taken[-1].finish
    return {
        "text": data.decode("utf-8", "replace"),
        "bytes_base64": base64.b64encode(data).decode("ascii"),
        "new_bytes": len(data),
        "prompt_bytes": len(prompt),
        "finish": finish.value if finish else None,
        "seconds": time.perf_counter() - start,
    }
