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

from proxylm.cli.evaluation_options import CompressorOption, ReadAsOption, compressor_for
from proxylm.cli.output import JsonOption, emit, note, stdout_errors
from proxylm.errors import UsageError
from proxylm.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxylm.generation.byte_model import ByteModel
    from proxylm.generation.decoding_row import ByteDelta
    from proxylm.generation.options import GenerationOptions
    from proxylm.generation.token_reading import TokenReading

Utf8Option = Annotated[
    str, typer.Option(help="strict: every prefix of the output begins valid UTF-8.")
]
RegexOption = Annotated[
    str | None, typer.Option(help="The output matches this regular expression.")
]
JsonSchemaOption = Annotated[
    Path | None, typer.Option(help="The output is JSON that the schema in this file accepts.")
]
GrammarOption = Annotated[
    Path | None, typer.Option(help="The output is a sentence of this file's Lark grammar.")
]


def generate(
    model: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run folder, checkpoint, or EvaByte folder.")
    ],
    prompt: Annotated[str | None, typer.Option(help="The text to continue; may be empty.")] = None,
    prompt_file: Annotated[
        Path | None, typer.Option(help="Read the prompt's bytes from this file.")
    ] = None,
    max_new_bytes: Annotated[
        int | None, typer.Option(help="Most bytes to generate; 256 unless told.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Draw from the most probable this much.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    stop: Annotated[
        list[str] | None, typer.Option(help="End before this string; may be given repeatedly.")
    ] = None,
    utf8: Utf8Option = "any",
    regex: RegexOption = None,
    json_schema: JsonSchemaOption = None,
    grammar: GrammarOption = None,
    read_as: ReadAsOption = "bytes",
    compressor: CompressorOption = None,
    max_new_symbols: Annotated[
        int | None, typer.Option(help="As tokens: most symbols; 64 unless told.")
    ] = None,
    drafter: Annotated[
        str, typer.Option(help="Draft several bytes per forward pass: chain or tree.")
    ] = "none",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    json: JsonOption = False,
) -> None:
    """Continue a prompt byte by byte and print the new bytes as they come.

    The prompt is --prompt, --prompt-file, or what is piped in. On a terminal the new bytes are
    shown as text, with U+FFFD for what is not UTF-8 and escapes for control characters; into a
    pipe or a file they go exactly as they are. With --json the object carries both: "text", and
    "bytes_base64" for the exact bytes.

    With --drafter chain or tree the model's further heads draft bytes that head 0 verifies,
    several in one pass: the bytes are the same, and come faster where the heads are often right.

    Example: proxylm generate runs/demo/proxy --prompt "def area(radius):" --max-new-bytes 80
    """
    from proxylm.config import validate_config
    from proxylm.generation.drafts import drafter_named
    from proxylm.generation.loading import load
    from proxylm.generation.options import DEFAULT_MAX_NEW_BYTES, GenerationOptions

    options = validate_config(
        GenerationOptions,
        {
            "max_new_bytes": DEFAULT_MAX_NEW_BYTES if max_new_bytes is None else max_new_bytes,
            "temperature": temperature,
            "top_p": top_p,
            "seed": seed,
            "stop": tuple(os.fsencode(text) for text in stop or ()),
            "utf8": utf8,
            "drafter": drafter_named(drafter),
            "structured_output": _structured_output(regex, json_schema, grammar),
        },
        origin="generation",
    )
    given = _read_prompt(prompt, prompt_file)
    loaded = load(model, device=device)
    if read_as != "bytes":
        if max_new_bytes is not None:
            raise UsageError("--read-as tokens counts symbols: give --max-new-symbols")
        tokens = _token_reading(loaded, model, read_as, compressor)
        deltas = _deltas_as_tokens(tokens, given, options, max_new_symbols)
    else:
        if max_new_symbols is not None:
            raise UsageError("--max-new-symbols is for --read-as tokens: give --max-new-bytes")
        if options.drafter and loaded.config.target_heads == 1:
            note("this model has one head, which drafts nothing: one byte per pass")
        deltas = loaded.deltas(given, options)
    if json:
        emit(_generate_object(given, deltas), as_json=True, text="")
    else:
        _stream_to_stdout(deltas)


def _token_reading(
    model: ByteModel, run: Path, read_as: str, compressor: str | None
) -> TokenReading:
    from proxylm.generation.token_reading import TokenReading

    if read_as != "tokens":
        raise UsageError(f"--read-as {read_as}: must be bytes or tokens")
    chosen = compressor_for(run, compressor)
    if chosen is None:
        raise UsageError("--read-as tokens needs the model's compressor: give --compressor")
    return TokenReading(model, chosen)


def _deltas_as_tokens(
    tokens: TokenReading,
    prompt: bytes,
    options: GenerationOptions,
    max_new_symbols: int | None,
) -> Iterator[ByteDelta]:
    from proxylm.config import validate_config
    from proxylm.generation.options import SymbolOptions

    if options.is_structured or options.drafter:
        raise UsageError("--read-as tokens takes no structured output and no --drafter")
    drawn = options.model_dump(include={"temperature", "top_p", "seed", "stop"})
    if max_new_symbols is not None:
        drawn["max_new_symbols"] = max_new_symbols
    symbol_options = validate_config(SymbolOptions, drawn, origin="generation")
    return tokens.deltas(prompt, symbol_options)


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
