"""What ``--help`` says: docstrings set for a screen, and no more about types than a person needs.

A docstring's indented paragraphs are examples: they stand together behind a prompt, and one that has several lines is
broken with a backslash, so that it can be copied as it stands.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

if TYPE_CHECKING:
    from typer.models import CommandInfo, TyperInfo


class Command(TyperCommand):
    """A command whose help says no more about types than a person needs."""

    def get_params(self, ctx: Any) -> Any:
        """Give the parameters."""
        return _plain(super().get_params(ctx))


class Group(TyperGroup):
    """A group with such help, which also knows its commands by their beginnings."""

    def get_params(self, ctx: Any) -> Any:
        """Give the parameters."""
        return _plain(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command; the beginning of a single one is answered with its name."""
        name = args[0]
        begun = [one for one in self.list_commands(ctx) if one.startswith(name)]
        if len(begun) == 1 and name not in begun and not ctx.resilient_parsing:  # a completion is told nothing
            ctx.fail(f"No such command {name!r}. Did you mean {begun[0]!r}?")
        return super().resolve_command(ctx, args)


def tell(app: typer.Typer) -> None:
    """Give a group and every command in it their help."""
    for command in app.registered_commands:
        command.cls = Command
        command.help = _help(command)
    for info in app.registered_groups:
        inner = info.typer_instance
        if inner is not None and inner.registered_callback is not None:
            inner.info.cls = Group
            inner.registered_callback.help = _help(inner.registered_callback)
            tell(inner)


def _plain(parameters: list[Any]) -> list[Any]:
    """Take from each what help would say about its type: a flag is seen to be one, an argument has its help."""
    for one in parameters:
        if isinstance(one, TyperArgument):
            vars(one)["display_type_rich"] = _nothing
        elif one.is_flag:
            one.metavar = ""
    return parameters


def _nothing(ctx: Any) -> None:
    """Say nothing about a type."""


def _help(info: CommandInfo | TyperInfo) -> str:
    told = info.help if isinstance(info.help, str) else info.callback.__doc__
    first, *others = _paragraphs(inspect.cleandoc(told or ""))
    # An empty paragraph: without it Typer takes the indentation of examples that follow the first one for the text's.
    text = "\n\n".join([first, "", *others] if others else [first])
    return text.replace(":\n\n  $", ":\n  $").replace("\n\n  $", "\n  $")


def _paragraphs(doc: str) -> Iterator[str]:
    for paragraph in doc.split("\n\n"):
        lines = [line.strip() for line in paragraph.splitlines()]
        yield "  $ " + " \\\n      ".join(lines) if paragraph.startswith(" ") else " ".join(lines)
