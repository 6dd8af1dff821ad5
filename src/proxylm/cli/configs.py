"""``proxylm configs``: what ships with the package, the paper's runs among it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from proxylm.cli.options import ConfigArgument, OverridesArgument
from proxylm.cli.output import JsonOption, emit, table

if TYPE_CHECKING:
    from proxylm.training.config import TrainingConfig

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_configs(json: JsonOption = False) -> None:
    """Name the shipped configurations; 'proxylm train' takes each by its name.

    Example: proxylm configs list
    """
    from proxylm.config_files import shipped_configs

    rows = [_row(name) for name in shipped_configs()]
    headers = ["name", "what", "model", "shown", "symbols per step", "steps"]
    texts = [row | {key: f"{row[key]:,}" for key in ("symbols_per_step", "steps")} for row in rows]
    shown = table(headers, [list(text.values()) for text in texts])
    emit({"configs": rows}, as_json=json, text=shown)


@app.command()
def show(
    name: ConfigArgument,
    overrides: OverridesArgument = None,
    json: JsonOption = False,
) -> None:
    """Print a configuration with everything that it builds on, as a run folder keeps it.

    Example: proxylm configs show paper/table1/7b-byte seed=1
    """
    from proxylm.config import dump_config, load_config, plain_config
    from proxylm.config_files import read_config_file
    from proxylm.training.config import TrainingConfig

    config = load_config(TrainingConfig, name, overrides or []).resolved()
    about = read_config_file(name).about
    result = {"name": str(name), "about": about, "config": plain_config(config)}
    emit(result, as_json=json, text=f"# {name}: {about}\n{dump_config(config)}")


def _row(name: str) -> dict[str, Any]:
    from proxylm.config import load_config
    from proxylm.config_files import read_config_file
    from proxylm.training.config import PresetModel, TrainingConfig

    config = load_config(TrainingConfig, Path(name))
    model = config.model
    return {
        "name": name,
        "about": read_config_file(Path(name)).about,
        "model": model.name if isinstance(model, PresetModel) else "sizes of its own",
        "shown": _shown(config),
        "symbols_per_step": config.symbols_per_step,
        "steps": config.total_steps,
    }


def _shown(config: TrainingConfig) -> str:
    """The views, their rate over the run and the steps with pairs, in a few words."""
    from proxylm.data.mixture_numbers import mixture_numbers

    numbers = mixture_numbers(config.mixing, config.total_steps)
    views = " + ".join(dict.fromkeys(source.view or "bytes" for source in config.data))
    rates = [float(rate) for rate in dict.fromkeys(numbers.rates[[0, -1]])]
    if rates == [0]:
        return "bytes"
    if rates == [1]:
        return views
    shown = f"{' to '.join(f'{rate:g}' for rate in rates)} {views}"
    if numbers.steps_with_pairs:
        order = {0.0: "raw first ", 1.0: "compressed first "}.get(numbers.compressed_first, "")
        last = numbers.steps_with_pairs
        shown += f", {order}pairs "
        shown += "throughout" if last >= config.total_steps else f"to step {last:,}"
    return shown if config.mixing.sentinels else f"{shown}, no sentinels"
