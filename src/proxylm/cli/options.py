"""How options come to be: derived from the configuration that they fill, when they are asked for.

A command's function takes validated configurations. ``options`` says which of their fields are
options; a field gives its option the choices and bounds, the default, and what its class's
``Attributes:`` says of it as the help. A value is read by the rules of ``key=value``
(``yaml_text``; what is a text stands as it is), and a mistake is one line that names the option.

The classes are imported when a command runs or tells its options. So ``proxylm --help`` answers at
once, whatever the commands need.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand, TyperOption

from proxylm.errors import UsageError

if TYPE_CHECKING:
    from proxylm.cli.option_fields import OptionField
    from proxylm.config import Config


def _config_names() -> list[str]:
    from proxylm.config_files import shipped_configs

    return shipped_configs()


def any_of(words: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """For a shell that completes a value: the words that begin with what is typed."""
    return lambda incomplete: [word for word in words() if word.startswith(incomplete)]


OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings to replace, as key.sub=value."),
]
ConfigArgument = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG",
        help="YAML file, or a name of 'configs list'.",
        autocompletion=any_of(_config_names),
    ),
]
Function = TypeVar("Function", bound=Callable[..., Any])
Filled = TypeVar("Filled", bound="Config")


@dataclass(frozen=True)
class Flags:
    """Options that fill one configuration.

    Attributes:
        config: its class, as ``module:Class``.
        names: the options, with underscores: a field's name, or ``option=place`` for a field of
            another name or inside a section (``samples=plan.samples``).
        defaults: by place, values of the command's own instead of the class's.
        panel: the heading under which the help lists them; what stands in a section of the
            configuration is under the section's name.
    """

    config: str
    names: Sequence[str]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    panel: str | None = None

    @property
    def config_class(self) -> type[Config]:
        """The class, imported now."""
        found: type[Config] = resolve_name(self.config)
        return found

    @cached_property
    def fields(self) -> dict[str, OptionField]:
        """What fills which option, by its name."""
        from proxylm.cli.option_fields import option_field

        return {
            option: option_field(self.config_class, place, self.defaults.get(place))
            for option, place in map(_option_and_place, self.names)
        }

    def parameters(self, *, required: bool) -> list[inspect.Parameter]:
        """The options as parameters of a function, for typer.

        Args:
            required: whether fields without a default must be given.
        """
        return [
            inspect.Parameter(
                option,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if required and one.is_required else None,
                annotation=_annotation(flag_of(option), one, self.panel),
            )
            for option, one in self.fields.items()
        ]

    def fill(self, given: Mapping[str, Any], *, origin: str, required: bool) -> Config | None:
        """The configuration of the options' values; None of a missing one that is not required.

        Args:
            given: by the options' names, None (or nothing) for what was not given.
            origin: begins the line of a mistake that no single option makes.
            required: whether there must be a configuration.

        Raises:
            UsageError: a value is wrong; the message names the option.
        """
        from proxylm.config import validate_config
        from proxylm.overrides import put

        values: dict[str, Any] = {}
        for place, value in self.defaults.items():
            put(values, place, value, origin=origin)
        taken = [option for option in self.fields if given[option] not in (None, [], ())]
        for option in taken:
            one, flag = self.fields[option], flag_of(option)
            put(values, one.place, one.value_of(given[option], flag), origin=flag)
        lacking = [o for o, one in self.fields.items() if one.is_required and o not in taken]
        if lacking and not required:
            if taken:
                raise UsageError(f"{flag_of(taken[0])}: goes with {flag_of(lacking[0])}; give both")
            return None
        names = {one.place: flag_of(option) for option, one in self.fields.items()}
        return validate_config(self.config_class, values, origin=origin, names=names)


def options(**flags: Flags) -> Callable[[Function], Function]:
    """Says what fills the configurations among a command's parameters, by their names.

    A parameter whose default is None is a configuration that may be missing.
    """

    def attach(function: Function) -> Function:
        function.__dict__["flags"] = flags
        return function

    return attach


def was_given(config: Config, field: str) -> bool:
    """Whether a field has a value that was asked for, and not merely its default."""
    return field in config.model_fields_set


def with_values(config: Filled, *, origin: str, **values: Any) -> Filled:
    """The configuration with further fields that no option of its own fills, validated.

    Raises:
        UsageError: one of them is wrong, or does not go with the others; ``origin`` begins the
            line.
    """
    from proxylm.config import validate_config

    given = config.model_dump(exclude_unset=True) | values
    return validate_config(type(config), given, origin=origin)


def defer_options(app: typer.Typer) -> None:
    """Make every command of an application, and of those below it, a ``DeferredCommand``."""
    for command in app.registered_commands:
        assert command.callback is not None
        command.callback, command.cls = _stand_in(command.callback), DeferredCommand
    for group in app.registered_groups:
        if group.typer_instance is not None:
            defer_options(group.typer_instance)


class DeferredCommand(TyperCommand):
    """A command that finds out its options when it is asked for them.

    It refuses an option given twice, unless that gathers values or is a flag: of two values, the
    parser would drop the first silently.
    """

    def get_params(self, ctx: Any) -> Any:
        """The options and arguments."""
        return self._whole.get_params(ctx)

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

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        return self._whole.invoke(ctx)

    @cached_property
    def _whole(self) -> Any:
        assert self.callback is not None
        app = typer.Typer(add_completion=False)
        app.command()(_expanded(self.callback.__dict__["stands_for"]))
        return typer.main.get_command(app)


def flag_of(option: str) -> str:
    """An option as it is typed.

    >>> flag_of("max_new_bytes")
    '--max-new-bytes'
    """
    return "--" + option.replace("_", "-")


def within(section: str, names: Sequence[str]) -> list[str]:
    """The names of options (as in ``Flags``) of what is a section of a larger configuration.

    >>> within("corpus", ["pattern", "corpus=path"])
    ['pattern=corpus.pattern', 'corpus=corpus.path']
    """
    parts = map(_option_and_place, names)
    return [f"{option}={section}.{place}" for option, place in parts]


def _option_and_place(name: str) -> tuple[str, str]:
    option, _, place = name.partition("=")
    return option, place or option


def _annotation(flag: str, one: OptionField, panel: str | None) -> Any:
    """The option as typer takes it: its values are texts, and what they mean is for us to say."""
    section = one.place.rpartition(".")[0].rpartition(".")[2]
    shown: dict[str, Any] = {
        "help": one.help,
        "rich_help_panel": section.replace("_", " ").capitalize() or panel,
    }
    if one.is_flag:
        names = f"{flag}/--no-{flag.removeprefix('--')}" if one.default else flag
        return Annotated[bool | None, typer.Option(names, **shown)]
    value = list[str] | None if one.is_list else str | None
    shown |= {"metavar": one.metavar, "autocompletion": any_of(lambda: one.choices)}
    return Annotated[value, typer.Option(flag, **shown)]


def _stand_in(function: Callable[..., Any]) -> Callable[[], None]:
    """A function of the same name and description without parameters, to be registered."""

    def stand_in() -> None: ...

    stand_in.__name__, stand_in.__doc__ = function.__name__, function.__doc__
    stand_in.__dict__["stands_for"] = function
    return stand_in


def _expanded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with a parameter for each option, in place of configurations."""
    flags: Mapping[str, Flags] = getattr(function, "flags", {})
    parameters = inspect.signature(function).parameters
    required = {name: parameters[name].default is not None for name in flags}
    own = {name: one for name, one in parameters.items() if name not in flags}

    def call(**values: Any) -> Any:
        origin = function.__name__.replace("_", "-")
        filled = {
            name: one.fill(values, origin=origin, required=required[name])
            for name, one in flags.items()
        }
        return function(**{name: values[name] for name in own}, **filled)

    call.__annotations__ = {name: one.annotation for name, one in own.items()}
    types = get_type_hints(call, function.__globals__, include_extras=True)
    expanded: list[inspect.Parameter] = []
    for name, one in parameters.items():
        if name in flags:
            expanded += flags[name].parameters(required=required[name])
        else:
            kind = inspect.Parameter.KEYWORD_ONLY
            expanded.append(one.replace(annotation=types[name], kind=kind))
    call.__dict__["__signature__"] = inspect.Signature(expanded)
    call.__annotations__ = {one.name: one.annotation for one in expanded}
    return call
