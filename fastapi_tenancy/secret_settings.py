"""Which of a tenant's settings are secret: take them out, put them back, show them masked."""

from collections.abc import Collection, Mapping
from typing import Any

from .errors import InvalidTenantError

MASK = "***"

SEALED = "$sealed"  # under this name the store keeps what it took out


def split(settings: Mapping[str, Any], names: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings without the secret ones, and these alone; `merged` makes one of the two again.

    Args:
        settings: JSON.
        names: of the secret ones; `smtp.password` is the `password` in `smtp`, or a setting with a dot in its name.
    """
    shown: dict[str, Any] = {}
    secret: dict[str, Any] = {}
    for key, value in settings.items():
        if _is_secret(key, value, names):
            secret[key] = value
        elif below := _below(key, names):
            shown[key], inner = split(value, below)
            if inner:
                secret[key] = inner
        else:
            shown[key] = value
    return shown, secret


def merged(shown: Mapping[str, Any], secret: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of which `split` made two."""
    whole = dict(shown)
    for key, value in secret.items():
        beside = whole.get(key)
        in_both = isinstance(beside, Mapping) and isinstance(value, Mapping)
        whole[key] = merged(whole[key], value) if in_both else value
    return whole


def masked_settings(settings: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The settings with asterisks in place of the secret ones."""
    return {key: _masked(key, value, names) for key, value in settings.items()}


def unmasked(patch: Mapping[str, Any], current: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """A JSON Merge Patch without the asterisks that `masked_settings` had put there, so that what they stood for stays.

    Raises:
        InvalidTenantError: they stand where `current` has nothing.
    """
    kept: dict[str, Any] = {}
    for key, value in patch.items():
        if value == MASK and _is_secret(key, value, names):
            if key not in current:
                raise InvalidTenantError(f"the setting {key!r} is {MASK}, which stands for a secret; give its value")
        elif isinstance(value, Mapping):
            beside = current.get(key)
            kept[key] = unmasked(value, beside if isinstance(beside, Mapping) else {}, _below(key, names))
        else:
            kept[key] = value
    return kept


def _masked(key: str, value: Any, names: Collection[str]) -> Any:
    if _is_secret(key, value, names):
        return MASK
    below = _below(key, names)
    return masked_settings(value, below) if below else value


def _is_secret(key: str, value: Any, names: Collection[str]) -> bool:
    # Where a name leads into something that holds no names, such as a list, all of that is secret.
    return key in names or key == SEALED or (not isinstance(value, Mapping) and bool(_below(key, names)))


def _below(key: str, names: Collection[str]) -> set[str]:
    """The names of what is secret inside the setting `key`."""
    return {name.removeprefix(f"{key}.") for name in names if name.startswith(f"{key}.")}
