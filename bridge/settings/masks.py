"""What stands in a secret's place where settings are shown, and must not come back as one."""

from __future__ import annotations

from pydantic import SecretStr

MASK = "********"


def refuse(value: object) -> None:
    """Refuse a value, or one in a mapping, that is a mask: a secret of nothing but asterisks, an address with the mask.

    Raises:
        ValueError: it is one.
    """
    for one in value.values() if isinstance(value, dict) else (value,):
        text = one.get_secret_value() if isinstance(one, SecretStr) else one
        if isinstance(text, str) and text and (not text.strip("*") or ("://" in text and MASK in text)):
            raise ValueError("holds asterisks as `config show` puts them in a secret's place; put the secret in again")
