"""The JSON Schemas of what stands in the topics: the only statement of the formats.

They are files, so that programs in other languages can use them: ``schemas/`` of a checkout, the same files inside an
installed wheel. A schema refers to another by its ``$id``, which is a name and no address: load both.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_SUFFIX = ".schema.json"


def names() -> tuple[str, ...]:
    """List the schemas: ``control``, ``tick``, ``status`` …"""
    return tuple(sorted(file.name.removesuffix(_SUFFIX) for file in _home().iterdir() if file.name.endswith(_SUFFIX)))


def load(name: str) -> dict[str, Any]:
    """Give one schema, as a draft 2020-12 document.

    Raises:
        KeyError: there is no schema of this name.
    """
    file = _home() / f"{name}{_SUFFIX}"
    if not file.is_file():
        raise KeyError(name)
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema


def _home() -> Traversable:
    installed = resources.files("bridge") / "_schemas"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "schemas"
