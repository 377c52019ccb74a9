"""The commands in their groups, and how each of them ends. Heavy imports sit inside the commands."""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from tamis.cli import label, measure, models, pipeline, use
from tamis.errors import SettingsError, TamisError, reaching

GROUPS: Mapping[str, Mapping[str, Callable[..., None]]] = {
    "Adapt": {
        "adapt": pipeline.adapt,
        "run": pipeline.run,
        "queries": pipeline.queries,
        "write-lists": pipeline.write_lists,
    },
    "Measure": {
        "label": label.label,
        "judge": label.judge,
        "evaluate": measure.evaluate,
        "compare": measure.compare,
        "inspect": measure.inspect,
    },
    "Use": {"rerank": use.rerank, "serve": use.serve, "index": use.index, "export": use.export},
    "Models": {"weigh": models.weigh, "threshold": models.threshold, "merge": models.merge, "fetch": models.fetch},
}
"""Every command by its name, in the groups and the order in which the help shows them."""

STAGES = ("corpus", "candidates", "scores", "lists", "train", "report")
"""Stages of a recipe that are often typed as commands, and are none."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, which typer catches and turns into it."""


class Commands(TyperGroup):
    """The commands; for the name of a stage it says how one runs up to there."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name, None where there is none.

        Raises:
            SettingsError: the name is a stage's.
        """
        if cmd_name in STAGES:
            raise SettingsError(f"{cmd_name} is a stage, no command: use tamis run RECIPE --until {cmd_name}")
        return super().get_command(ctx, cmd_name)


class Command(TyperCommand):
    """A command that takes no empty path, as of a shell's variable that is not set: Python's working directory."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read what was typed.

        Raises:
            SettingsError: a path is empty.
        """
        typed, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        paths = {name for name, kind in get_type_hints(self.callback).items() if Path in _types(kind)}
        for one in self.get_params(ctx):
            given = typed.get(one.name)
            if one.name in paths and "" in (given if isinstance(given, list | tuple) else [given]):
                called = one.opts[0] if one.opts[0].startswith("-") else str(one.name).upper()
                raise SettingsError(f"{called}: got '', expected a path ('.' for the working directory)")
        return super().parse_args(ctx, args)


def _types(annotation: Any) -> Iterator[Any]:
    """All types in that of a parameter."""
    yield annotation
    for argument in get_args(annotation):
        yield from _types(argument)


app = typer.Typer(
    name="tamis",
    cls=Commands,
    help="Turn unlabelled documents into a small reranker tuned to them, measure it, and use it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        from tamis import __version__

        typer.echo(f"tamis {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version, and stop")
    ] = False,
) -> None:
    pass


for _group, _commands in GROUPS.items():
    for _name, _command in _commands.items():
        app.command(_name, cls=Command, rich_help_panel=_group)(_command)


def main() -> None:
    """Run the command line; what the user can mend ends with one line and status 2."""
    try:
        with reaching():
            status = app(standalone_mode=False) or 0
    except TamisError as error:
        typer.echo(f"tamis: {error}", err=True)
        status = 2
    except Exception as error:
        if not (hasattr(error, "show") and hasattr(error, "exit_code")):
            raise
        error.show()  # a usage error of the command line itself
        status = error.exit_code
    if status == INTERRUPTED:
        typer.echo("tamis: stopped; what was finished is kept, run the same command again to go on", err=True)
    sys.exit(status)
