"""A value comes back from JSON as it was, and two are held to be the same where they are."""

import json
import math
from datetime import UTC, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_tenancy.fleet.rows.kinds import KINDS, duration, timedelta_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "integer": st.integers(),
    "float": st.floats(),
    "decimal": st.decimals(),
    "text": TEXTS,
    "bytes": st.binary(),
    "datetime": st.datetimes() | st.datetimes(timezones=st.just(UTC)),
    "date": st.dates(),
    "time": st.times(),
    "interval": st.timedeltas().map(duration),
    "uuid": st.uuids(),
    "json": st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
        lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
        max_leaves=5,
    ).map(json.dumps),
    "literal": TEXTS,
}


@given(st.data())
@settings(max_examples=10)
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_value_comes_back(kind: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[kind])
    encode, decode, canonical = KINDS[kind].encode, KINDS[kind].decode, KINDS[kind].canonical
    carried = json.loads(json.dumps(value if encode is None else encode(value), allow_nan=False))
    back = carried if decode is None else decode(carried)
    assert type(back) is type(value)
    assert str(back) == str(value) or back == value  # not a number is not even itself
    if canonical is not None:
        assert canonical(back) == canonical(value)
        json.dumps(canonical(value), allow_nan=False)


@given(st.decimals(allow_nan=False), st.integers(0, 8))
@settings(max_examples=50)
def test_a_number_is_the_same_with_more_zeros_and_no_other_number_is(number: Decimal, zeros: int) -> None:
    same = KINDS["decimal"].canonical
    assert same is not None
    if number.is_finite() and abs(number.adjusted()) < 20:
        assert same(Decimal(f"{number:f}" + ("." if "." not in f"{number:f}" else "") + "0" * zeros)) == same(number)
        assert same(number + Decimal("1e-30")) != same(number) or number + Decimal("1e-30") == number


@given(st.timedeltas())
@settings(max_examples=50)
def test_a_length_of_time_comes_back(length: timedelta) -> None:
    assert timedelta_of(duration(length)) == length


def test_months_are_kept_apart_from_days() -> None:
    canonical = KINDS["interval"].canonical
    assert canonical is not None
    assert canonical("P1Y2M3DT4H") == canonical("P14M3DT4H0M0S") != canonical("P13M33DT4H")
    with pytest.raises(ValueError, match="counts months"):
        timedelta_of("P1M")


def test_a_zero_has_no_sign() -> None:
    canonical = KINDS["float"].canonical
    assert canonical is not None
    assert canonical(-0.0) == canonical(0.0) != canonical(math.nan)
