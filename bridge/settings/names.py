"""Telling a mistyped setting from a variable that is none of ours.

Whoever deploys us under a name like our prefix has variables that only look like settings: Kubernetes writes one for
each port of a Service. So a name that no group knows is refused only where it is plainly meant for one: the same
letters with other underscores, or nearly the same. Everything else is left alone.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping

#: Share of the letters that must agree: in a short name all but one, in a long one all but three.
ALIKE = 0.85

#: What Kubernetes writes into NAME_PORT: for a Service called tickbridge-http, that is nearly HTTP__PORT.
_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def mistyped(given: Mapping[str, str | None], known: Iterable[str], prefix: str) -> Iterator[str]:
    """Give a line for each name that is meant for a setting and misses it.

    ``given`` maps the variables of a process to their values, in any case; ``known`` are the settings' names without
    the prefix. An empty variable counts as not set, and names under a known group are the group's own to refuse.
    """
    meant = {name.replace("_", ""): name for name in known}
    groups = {name.partition("__")[0] for name in meant.values()}
    for name in sorted({name.upper() for name, value in given.items() if value and not _ADDRESS.match(value)}):
        bare = name.removeprefix(prefix)
        if bare == name or bare in groups or bare.partition("__")[0] in groups:
            continue
        letters = bare.replace("_", "")
        hint = " groups are separated by two underscores" if letters in meant else ""
        if close := difflib.get_close_matches(letters, meant, 1, ALIKE):
            yield f"{name} is no setting; did you mean {prefix}{meant[close[0]]}?{hint}"
