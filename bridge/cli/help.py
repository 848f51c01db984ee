"""What ``--help`` says: docstrings set for a screen, and no more about types than a person needs.

A docstring's indented paragraphs are examples: they stand together behind a prompt, and one that has several lines is
broken with a backslash, so that it can be copied as it stands.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

if TYPE_CHECKING:
    from typer.models import CommandInfo, TyperInfo


#: What other tools call a command of ours.
_ELSEWHERE = {
    "rm": "remove", "delete": "remove", "del": "remove", "unsubscribe": "remove", "subscribe": "add",
    "ls": "list", "get": "list", "plan": "diff", "create": "ensure", "start": "run", "serve": "run", "doctor": "check",
    "top": "status --watch", "watch": "status --watch", "consume": "tail", "help": "--help", "version": "--version",
    "completion": "--install-completion", "dump": "export", "backup": "export", "save": "export",
}  # fmt: skip


class Command(TyperCommand):
    """A command whose help says no more about types than a person needs."""

    def get_params(self, ctx: Any) -> Any:
        """Give the parameters."""
        return _plain(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Read the arguments; what is wrong with them is said in words."""
        if "--config" in args and not any("--config" in one.opts for one in self.get_params(ctx)):
            ctx.fail(f"--config goes before the command: tickbridge --config FILE {ctx.command_path.partition(' ')[2]}")
        with _complaints_in_words():
            return super().parse_args(ctx, args)


class Group(TyperGroup):
    """A group with such help, which also knows its commands by their beginnings, and by what others call them."""

    def get_params(self, ctx: Any) -> Any:
        """Give the parameters."""
        return _plain(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Read the arguments; what is wrong with them is said in words."""
        with _complaints_in_words():
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command; one that is not there is answered with the one that is meant, where that is plain."""
        name = args[0]
        meant = "" if name in self.commands or ctx.resilient_parsing else self._meant(name)
        if meant:  # a completion is told nothing
            ctx.fail(f"No such command {name!r}. Did you mean {meant!r}?")
        return super().resolve_command(ctx, args)

    def _meant(self, name: str) -> str:
        begun = [one for one in self.commands if one.startswith(name)]
        if len(begun) == 1:
            return begun[0]
        inner = {
            one: f"{group} {one}" for group, held in self.commands.items() for one in getattr(held, "commands", {})
        }
        options = {option: option for one in self.params for option in one.opts} | {"--help": "--help"}
        known = {one: one for one in self.commands} | inner | options
        elsewhere = _ELSEWHERE.get(name, "")
        return inner.get(name) or ("" if elsewhere.split(" ")[0] not in known else known.get(elsewhere, elsewhere))


def in_words(message: str) -> str:
    """Take from what is said about an argument the words of the library that read it."""
    message = re.sub(r", unable to parse .*", "", message.removeprefix("Value error, "))
    return re.sub(r"^Input should be", "it should be", message)


@contextmanager
def _complaints_in_words() -> Iterator[None]:
    """Say in words what is wrong with an argument that is read meanwhile."""
    try:
        yield
    except typer.BadParameter as error:
        error.message = in_words(error.message)
        raise


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
