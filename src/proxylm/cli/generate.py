"""``proxylm generate``: continue a prompt, bytes in and bytes out."""

from __future__ import annotations

import base64
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli.output import JsonOption, emit, note
from proxylm.errors import UsageError

if TYPE_CHECKING:
    from proxylm.inference.byte_model import ByteModel
    from proxylm.inference.options import GenerationOptions


def generate(
    model: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run folder, checkpoint, or EvaByte folder.")
    ],
    prompt: Annotated[str | None, typer.Option(help="The text to continue; may be empty.")] = None,
    prompt_file: Annotated[
        Path | None, typer.Option(help="Read the prompt's bytes from this file.")
    ] = None,
    max_new_bytes: Annotated[int, typer.Option(help="Most bytes to generate.")] = 256,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Draw from the most probable this much.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    stop: Annotated[
        list[str] | None, typer.Option(help="End before this string; may be given repeatedly.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    json: JsonOption = False,
) -> None:
    """Continue a prompt byte by byte and print the new bytes as they come.

    The prompt is --prompt, --prompt-file, or what is piped in. On a terminal the new bytes are
    shown as text, with U+FFFD for what is not UTF-8; into a pipe or a file they go exactly as they
    are. With --json the object carries both: "text", and "bytes_base64" for the exact bytes.

    Example: proxylm generate runs/demo/proxy --prompt "def area(radius):" --max-new-bytes 80
    """
    from proxylm.inference.loading import load
    from proxylm.inference.options import generation_options

    options = generation_options(
        max_new_bytes=max_new_bytes,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        stop=[os.fsencode(text) for text in stop or ()],
    )
    given = _read_prompt(prompt, prompt_file)
    loaded = load(model, device=device)
    if json:
        emit(_generate_object(loaded, given, options), as_json=True, text="")
    else:
        _stream_to_stdout(loaded, given, options)


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


def _stream_to_stdout(model: ByteModel, prompt: bytes, options: GenerationOptions) -> None:
    from proxylm.inference.text_stream import TextStream

    as_text = sys.stdout.isatty()
    text = TextStream()
    start = time.perf_counter()
    count = 0
    for piece in model.pieces(prompt, options):
        count += len(piece.data)
        if as_text:
            sys.stdout.write(text.feed(piece.data))
            sys.stdout.flush()
        else:
            sys.stdout.buffer.write(piece.data)
            sys.stdout.buffer.flush()
    if as_text:
        sys.stdout.write(text.finish() + "\n")
        note(f"{count} bytes, {count / (time.perf_counter() - start):.0f} bytes/s")


def _generate_object(model: ByteModel, prompt: bytes, options: GenerationOptions) -> dict[str, Any]:
    start = time.perf_counter()
    [completion] = model.complete([prompt], options)
    return {
        "text": completion.data.decode("utf-8", "replace"),
        "bytes_base64": base64.b64encode(completion.data).decode("ascii"),
        "new_bytes": len(completion.data),
        "prompt_bytes": len(prompt),
        "finish": completion.finish.value,
        "seconds": time.perf_counter() - start,
    }
