"""``proxylm serve``: a trained model behind OpenAI's completions interface."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Annotated

import typer

from proxylm.cli.options import Flags, options, was_given
from proxylm.cli.output import JsonOption, emit, note
from proxylm.cli.reading import (
    NO_DRAFTER,
    READING,
    DeviceOption,
    DrafterOption,
    RunArgument,
    WeightsOption,
    compressor_for,
    loaded_model,
    read_by,
)
from proxylm.errors import ProxylmError, UsageError
from proxylm.printable import printable

if TYPE_CHECKING:
    from proxylm.generation.byte_model import ByteModel
    from proxylm.scoring.read_as import ReadAs
    from proxylm.scoring.readings import Reading
    from proxylm.serving.limits import ServingLimits
    from proxylm.serving.service import ServedReading

_KEY_VARIABLE = "PROXYLM_API_KEY"


@options(
    limits=Flags(
        "proxylm.serving.limits:ServingLimits",
        (
            *("max_rows", "max_queue", "max_length=max_length_bytes", "max_prefix_bytes"),
            *("client_seconds", "drain_seconds"),
        ),
    ),
    reading=READING,
)
def serve(
    model: RunArgument,
    limits: ServingLimits,
    reading: ReadAs,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    name: Annotated[
        str | None, typer.Option(help="The model's name for clients; by default the folder's.")
    ] = None,
    drafter: DrafterOption = NO_DRAFTER,
    api_key: Annotated[
        str | None,
        typer.Option(envvar=_KEY_VARIABLE, help="Ask clients for this key under /v1."),
    ] = None,
    device: DeviceOption = "auto",
    weights: WeightsOption = "f32",
    json: JsonOption = False,
) -> None:
    """Answer OpenAI's /v1/completions and /v1/chat/completions, until SIGTERM or Ctrl-C.

    Concurrent requests are decoded together. max_tokens counts bytes, and a prompt may be a list
    of bytes where OpenAI takes token ids. With --read-as mixed prompts are read as symbols up to
    their last word, which takes less time and room; a request's read_as can say otherwise. Chats
    need the chat template of an imported model. /metrics is for Prometheus, /healthz says
    whether new requests are taken. The first signal lets running requests finish, the second ends
    them. Where it listens goes to stdout once it does (with --json as an object with "url" and
    "model").

    Example: proxylm serve runs/demo/proxy --port 8000
    """
    require_serving()
    from proxylm.generation.drafts import drafter_named
    from proxylm.serving.chat_template import chat_template_of
    from proxylm.serving.lifecycle import listen
    from proxylm.serving.lifecycle import serve as serve_model

    api_key = _checked_key(api_key)
    drafting = drafter_named(drafter)
    loaded = loaded_model(model, device=device, weights=weights)
    found, *others = _readings(loaded, model, reading)
    if not was_given(limits, "max_length_bytes"):
        limits = limits.model_copy(update={"max_length_bytes": loaded.config.context})
    name = printable(name or model.resolve().name)  # it goes into JSON, which is UTF-8
    listening = listen(host, port)
    serve_model(
        loaded,
        listening,
        name=name,
        limits=limits,
        reading=found,
        other_readings=others,
        chat_template=chat_template_of(model),
        drafter=drafting,
        api_key=api_key,
        on_ready=_announcement(listening, name, has_key=api_key is not None, json=json),
    )


def _readings(model: ByteModel, run: Path, reading: ReadAs) -> list[ServedReading]:
    """How prompts are read, as the command says, and then the other ways that a request can name.

    The others are those that the model's own compressor allows; where it has none, there are none.
    """
    from proxylm.generation.token_reading import TokenReading
    from proxylm.scoring.read_as import BYTES, MIXED, TOKENS
    from proxylm.scoring.readings import CompressedReading, RawReading, reading_of

    def served(found: Reading) -> ServedReading:
        if isinstance(found, CompressedReading):
            return TokenReading(model, found.compressor)
        assert isinstance(found, RawReading)
        return found

    own = served(read_by(model, run, reading))
    others, compressor = [], None
    with contextlib.suppress(ProxylmError):
        compressor = compressor_for(run, reading.compressor)
    for name in (BYTES, MIXED, TOKENS):
        with contextlib.suppress(ProxylmError):
            others.append(served(reading_of(model, name, compressor)))
    return [own, *(other for other in others if other.name != own.name)]


def _checked_key(option: str | None) -> str | None:
    """The key that clients can really send in a header; None if none is to be asked for."""
    # An empty variable is no option to typer; whoever sets one means to have a key.
    key = os.environ.get(_KEY_VARIABLE) if option is None else option
    if key is None:
        return None
    if not key:
        raise UsageError(f"--api-key or {_KEY_VARIABLE}: is empty; leave it out to ask for none")
    if key != key.strip() or not (key.isascii() and key.isprintable()):
        raise UsageError(
            f"--api-key or {_KEY_VARIABLE}: must be printable ASCII without spaces around it"
        )
    return key


def _announcement(listening: socket, name: str, *, has_key: bool, json: bool) -> Callable[[], None]:
    """What is said once the server answers: where, and a warning if anybody can ask."""
    address, port = listening.getsockname()[:2]
    if not has_key and not ip_address(address).is_loopback:
        note(f"warning: {address} can be reached from outside and there is no --api-key")
    authority = f"[{address}]" if ":" in address else address
    url = f"http://{authority}:{port}/v1"
    return lambda: emit({"url": url, "model": name}, as_json=json, text=f"model {name!r} at {url}")


def require_serving(command: str = "serve", extra: str = "serve") -> None:
    """Refuse in one line where the packages of an HTTP server are missing."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"{command} needs {error.name}: install it with pip install 'proxylm[{extra}]'"
        ) from None
