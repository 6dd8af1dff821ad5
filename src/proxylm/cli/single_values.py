"""Options that take one value are given once: of two, the parser would drop the first silently."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

from proxylm.errors import UsageError


class SingleValueCommand(TyperCommand):
    """A command that refuses an option given twice, unless it gathers values or is a flag."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments.

        Raises:
            UsageError: an option of one value has two.
        """
        given = set()
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for parameter in order:
            takes_one = isinstance(parameter, TyperOption) and not (
                parameter.multiple or parameter.is_flag or parameter.count
            )
            if takes_one and parameter.name in given:
                raise UsageError(f"{parameter.opts[0]}: given twice; it takes one value")
            given.add(parameter.name)
        return super().parse_args(ctx, args)


def refuse_repetitions(app: typer.Typer) -> None:
    """Make every command of an application, and of those below it, such a command."""
    for command in app.registered_commands:
        command.cls = SingleValueCommand
    for group in app.registered_groups:
        if group.typer_instance is not None:
            refuse_repetitions(group.typer_instance)
