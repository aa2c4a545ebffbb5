"""The attributes of an object in words: bounded, without running any code of its class."""

from __future__ import annotations

from ipyactors.ground.secret_names import SECRET, is_secret
from ipyactors.ground.value_texts import attributes_of, text_of

#: How many attributes are told at most, and in how many characters each.
ATTRIBUTES_AT_MOST = 50
CHARACTERS_AT_MOST = 200


def tell_attributes(thing: object) -> tuple[tuple[str, str], ...]:
    """Return the name of each attribute that lies in ``thing``, and what its value is; secrets are left out."""
    found: list[tuple[str, str]] = []
    for name, value in attributes_of(thing):
        if len(found) == ATTRIBUTES_AT_MOST:
            found.append(("...", "and more"))
            break
        found.append((name, SECRET if is_secret(name, value) else text_of(value, CHARACTERS_AT_MOST)[0]))
    return tuple(found)
