"""Entry point of ``proxylm``: registers the commands and turns errors into one line each.

Command modules import only light things at the top; torch and friends come in when a command
runs, so that ``proxylm --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from proxylm.cli import (
    analyze,
    bench,
    compress,
    compressor,
    demo,
    evaluate,
    export,
    generate,
    prepare,
    rates,
    recipe,
    report,
    sandbox,
    serve,
    train,
    train_neural,
    views,
)
from proxylm.cli.single_values import refuse_repetitions
from proxylm.errors import ProxylmError

INTERRUPTED_STATUS = 130
_INTERRUPTED = "interrupted; run again, commands that save their progress go on from there"

app = typer.Typer(
    name="proxylm",
    help="Train one language model on raw bytes and compressed views; run it on raw bytes alone.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root() -> None:
    """Without a callback, typer would promote a single command to the root."""


compressor.train.command("neural")(train_neural.train_neural)
app.add_typer(analyze.app, name="analyze")
app.add_typer(bench.app, name="bench")
app.add_typer(compressor.app, name="compressor")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(recipe.app, name="recipe")
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(views.app, name="views")
app.command("compress")(compress.compress)
app.command("prepare")(prepare.prepare)
app.command("train")(train.train)
app.command("generate")(generate.generate)
app.command("serve")(serve.serve)
app.command("export")(export.export)
app.command("rates")(rates.rates)
app.command("report")(report.report)
app.command("demo")(demo.demo)
refuse_repetitions(app)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 done, 1 failed, 2 used wrongly)."""
    try:
        status = app(args=None if arguments is None else list(arguments), standalone_mode=False)
        if status == INTERRUPTED_STATUS:  # how typer reports an interrupt
            return _fail(_INTERRUPTED, status)
        return status if isinstance(status, int) else 0
    except ProxylmError as error:
        return _fail(str(error), error.exit_status)
    except BrokenPipeError:
        # The reader of our output left (for instance `| head`): nothing more to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(_describe_os_error(error), 1)
    except Exception as error:
        # Errors of the option parser; typer carries its own copy of click, so no class to name.
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            return _fail(_with_hint(error, error.format_message()), error.exit_code)
        raise


def main() -> None:
    """Console script."""
    sys.exit(run())


def _fail(message: str, status: int) -> int:
    if message:
        sys.stderr.write(f"proxylm: {' '.join(message.split())}\n")
    return status


def _with_hint(error: Exception, message: str) -> str:
    context = getattr(error, "ctx", None)
    return f"{message} (see '{context.command_path} --help')" if context and message else message


def _describe_os_error(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
