"""The kinds of values that a column can hold: how each is written as JSON, and when two of them are the same."""

import json
import math
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from uuid import UUID

# ISO 8601, section 5.5.2, as PostgreSQL writes it: each part has a sign of its own.
_DURATION = re.compile(
    r"P(?:(?P<years>-?\d+)Y)?(?:(?P<months>-?\d+)M)?(?:(?P<days>-?\d+)D)?"
    r"(?:T(?:(?P<hours>-?\d+)H)?(?:(?P<minutes>-?\d+)M)?(?:(?P<seconds>-?[\d.]+)S)?)?"
)


# Beyond so many, a number is compared as it is written; it could fill the memory otherwise.
_MOST_DIGITS = 10_000

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """What is done with the values of one kind, but for None; nothing where that is None.

    Attributes:
        name: in an archive.
        encode: to a JSON value.
        decode: back.
        canonical: a JSON value that is the same for values that are the same, however a database writes them.
    """

    name: str
    encode: Convert | None = None
    decode: Convert | None = None
    canonical: Convert | None = None


def _float_to_json(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)  # JSON has neither infinities nor NaN


def _decimal(value: Decimal) -> str:
    """The same for 1.5 and 1.50."""
    text = str(value)
    if "E" in text and abs(value.adjusted()) < _MOST_DIGITS:
        text = format(value, "f")
    if "." in text and "E" not in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _json(text: str) -> Any:
    # Not compared as float: two databases may keep more digits than that has.
    return json.loads(text, parse_float=_number, parse_int=_number)


def _number(text: str) -> str:
    return f"number {_decimal(Decimal(text))}"


def duration(value: timedelta) -> str:
    """The text of a length of time, as PostgreSQL reads and writes it."""
    size = abs(value)  # as a timedelta has its sign in the days only, and counts the rest forwards
    sign = "-" if value.days < 0 else ""
    return f"P{sign}{size.days}DT{sign}{size.seconds}.{size.microseconds:06}S"


def _parts(text: str) -> tuple[int, int]:
    """The months, and the microseconds beside them; how long a month is, nobody knows."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no length of time")
    part = {name: Decimal(number or 0) for name, number in found.groupdict().items()}
    seconds = part["days"] * 86400 + part["hours"] * 3600 + part["minutes"] * 60 + part["seconds"]
    return int(part["years"] * 12 + part["months"]), int(seconds * 1_000_000)


def timedelta_of(text: str) -> timedelta:
    """What `duration` was made from.

    Raises:
        ValueError: it counts months.
    """
    months, micros = _parts(text)
    if months:
        raise ValueError(f"{text} counts months, which only PostgreSQL keeps; write it in days")
    return timedelta(microseconds=micros)


def _moment(value: datetime) -> str:
    return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()


# "text" is also what an Enum is stored as, and "literal" what PostgreSQL itself writes for a type of its own.
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind("boolean"),
            Kind("integer"),
            Kind("float", _float_to_json, float, lambda value: str(float(value) + 0.0)),  # no negative zero
            Kind("decimal", str, Decimal, _decimal),
            Kind("text"),
            Kind("bytes", lambda value: b64encode(value).decode(), b64decode, lambda value: b64encode(value).decode()),
            Kind("datetime", _moment, datetime.fromisoformat, _moment),
            Kind("date", date.isoformat, date.fromisoformat, date.isoformat),
            Kind("time", time.isoformat, time.fromisoformat, time.isoformat),
            Kind("interval", canonical=_parts),
            Kind("uuid", str, UUID, str),
            Kind("json", canonical=_json),
            Kind("literal"),
        )
    }
)
