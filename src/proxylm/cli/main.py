"""Entry point of ``proxylm``: registers the commands and turns errors into one line each.

Command modules import only light things at the top; torch and friends come in when a command
runs, so that ``proxylm --help`` answers at once.
"""

from __future__ import annotations

import gc
import inspect
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import ModuleType
from typing import TypeGuard

import typer

from proxylm.cli import (
    analyze,
    bench,
    byteify,
    compress,
    compressor,
    configs,
    demo,
    doctor,
    evaluate,
    export,
    generate,
    import_model,
    inspector,
    plan,
    prepare,
    rates,
    recipe,
    report,
    results,
    runs,
    sandbox,
    serve,
    sweep,
    train,
    train_heads,
    train_neural,
    views,
)
from proxylm.cli.options import defer_options
from proxylm.cli.output import ReaderLeftError, hold_descriptors, note, open_streams
from proxylm.errors import ProxylmError, one_line
from proxylm.ranks import end_process

INTERRUPTED_STATUS = 130
TRACEBACK_VARIABLE = "PROXYLM_TRACEBACK"
"""Environment variable: if set, an error from outside shows its traceback instead of one line."""

_SPIN_COUNT = "3000"
_OBJECTS_OF_IMPORTS = 1 << 18
_TORCH_OUT_OF_MEMORY = "DefaultCPUAllocator: can't allocate memory"
_LINE_END = re.compile(r"\s*\n\s*")
_INTERRUPTED = "interrupted; run again, commands that save their progress go on from there"

app = typer.Typer(
    name="proxylm",
    help="Train one language model on raw bytes and compressed views; run it on raw bytes alone.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


compressor.train.command("neural")(train_neural.train_neural)
COMMANDS: dict[str, dict[str, ModuleType | Callable[..., object]]] = {
    "Data": {
        "compressor": compressor,
        "prepare": prepare.prepare,
        "views": views,
        "compress": compress.compress,
    },
    "Training": {
        "configs": configs,
        "plan": plan.plan,
        "train": train.train,
        "sweep": sweep.sweep,
        "import": import_model,
        "byteify": byteify.byteify,
        "train-heads": train_heads.train_heads,
        "runs": runs,
        "report": report.report,
    },
    "A trained model": {
        "generate": generate.generate,
        "serve": serve.serve,
        "inspect": inspector.inspect,
        "export": export.export,
        "evaluate": evaluate,
    },
    "The method": {
        "demo": demo.demo,
        "recipe": recipe,
        "results": results,
        "analyze": analyze,
        "rates": rates.rates,
    },
    "This machine": {
        "doctor": doctor.doctor,
        "bench": bench,
        "sandbox": sandbox,
    },
}
"""The commands, and modules with groups of them, as the help lists them."""


def _register(name: str, command: ModuleType | Callable[..., object], panel: str) -> None:
    if isinstance(command, ModuleType):
        about = inspect.cleandoc(command.__doc__ or "").partition(": ")[2].splitlines()[0]
        about = f"{about[:1].upper()}{about[1:]}"
        app.add_typer(command.app, name=name, help=about, rich_help_panel=panel)
    else:
        app.command(name, rich_help_panel=panel)(command)


for _panel, _commands in COMMANDS.items():
    for _name, _command in _commands.items():
        _register(_name, _command, _panel)
defer_options(app)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 done, 1 failed, 2 used wrongly).

    Every error that the world can cause ends here as one line; see ``_comes_from_outside``.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        open_streams()
        status = app(args=given, standalone_mode=False)
        if status == INTERRUPTED_STATUS:  # how typer reports an interrupt
            return _fail(_INTERRUPTED, status)
        return status if isinstance(status, int) else 0
    except ProxylmError as error:
        return _fail("" if error.told_elsewhere else str(error), error.exit_status)
    except ReaderLeftError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        # Errors of the option parser; typer carries its own copy of click, so no class to name.
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            return _fail(_with_hint(error, error.format_message()), error.exit_code)
        # typer makes an Abort of an EOFError.
        cause = error.__cause__ if isinstance(error, typer.Abort) else error
        if os.environ.get(TRACEBACK_VARIABLE) or not _comes_from_outside(cause):
            raise
        return _fail(_describe(cause, _command_named(given)), 1)


def main() -> None:
    """Console script."""
    hold_descriptors()
    _let_waiting_threads_sleep()
    _collect_after_imports()
    end_process(run())


def _let_waiting_threads_sleep() -> None:
    """Bound how long torch's threads spin while they wait for one that other programs hold up.

    Its OpenMP library reads this when torch is loaded. A quiet machine loses nothing by it, and
    what is not handed out to threads (``proxylm.threads``) keeps twice the speed on a busy one.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPIN_COUNT)


def _collect_after_imports() -> None:
    """Put off the first garbage collection until there are as many objects as torch brings along.

    They all stay, and looking through them again and again is a tenth of a start. From the first
    collection on it goes as usual, and what is there by then is not looked at any more.
    """
    usual = gc.get_threshold()

    def after_the_first(phase: str, info: dict[str, int]) -> None:
        if phase == "stop":
            gc.callbacks.remove(after_the_first)
            gc.set_threshold(*usual)
            gc.freeze()

    gc.callbacks.append(after_the_first)
    gc.set_threshold(_OBJECTS_OF_IMPORTS, *usual[1:])


def _comes_from_outside(error: BaseException | None) -> TypeGuard[Exception]:
    """Whether data, files or the machine are to blame, as far as the error's class tells.

    That is what Python raises for them, and whatever a library has a class of its own for. What
    is left (AssertionError, TypeError, KeyError, ...) is a mistake in code and keeps its traceback.
    """
    if isinstance(error, OSError | EOFError | UnicodeError | MemoryError | RecursionError):
        return True
    if isinstance(error, RuntimeError) and _TORCH_OUT_OF_MEMORY in str(error):
        return True
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, Exception) and package not in ("builtins", "proxylm")


def _describe(error: Exception, command: str) -> str:
    kind, what = type(error).__name__, one_line(error)
    if isinstance(error, OSError):
        what = error.strerror or what
        if isinstance(error.filename, str | bytes):
            return f"{os.fsdecode(error.filename)}: {what}"
    elif what != kind:
        what = f"{kind}: {what}"
    return f"{command}: {what} ({TRACEBACK_VARIABLE}=1 shows where)"


def _command_named(arguments: Sequence[str]) -> str:
    """The command among the arguments, in words, to say what was under way."""
    names = []
    command = typer.main.get_command(app)
    for word in arguments:
        commands = getattr(command, "commands", {})
        if word not in commands:
            break
        names.append(word)
        command = commands[word]
    return " ".join(names) or "start"


def _fail(message: str, status: int) -> int:
    if message:
        with suppress(OSError):  # then the status alone has to tell it
            note(f"proxylm: {_LINE_END.sub(' ', message.strip())}")
    return status


def _with_hint(error: Exception, message: str) -> str:
    context = getattr(error, "ctx", None)
    return f"{message} (see '{context.command_path} --help')" if context and message else message
