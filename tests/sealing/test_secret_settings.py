"""Secret settings can be taken out, put back and shown masked, wherever they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastapi_tenancy import InvalidTenantError
from fastapi_tenancy.multitenant.admin.schemas import merge_patch
from fastapi_tenancy.secret_settings import MASK, masked_settings, merged, split, unmasked

KEYS = st.sampled_from(["a", "b", "a.b", "c"])
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
SETTINGS = st.dictionaries(KEYS, VALUES, max_size=4)
NAMES = st.sets(st.sampled_from(["a", "b", "c", "a.b", "a.b.c", "b.a.b", "c.c"]), max_size=3)

SMTP = {"smtp": {"host": "mail", "password": "hunter2"}, "api_key": "abc", "plan": "pro"}


@given(SETTINGS, NAMES)
def test_what_is_taken_out_can_be_put_back(settings, names) -> None:
    assert merged(*split(settings, names)) == settings


@given(SETTINGS, NAMES)
def test_nothing_secret_is_left_and_nothing_else_is_masked(settings, names) -> None:
    shown, secret = split(settings, names)
    assert split(shown, names) == (shown, {})
    if not secret:
        assert masked_settings(settings, names) == settings


@given(SETTINGS, NAMES)
def test_what_was_shown_can_be_sent_back_and_changes_nothing(settings, names) -> None:
    without_nulls = merge_patch({}, settings)  # which would remove, in a patch
    shown = masked_settings(without_nulls, names)
    assert merge_patch(without_nulls, unmasked(shown, without_nulls, names)) == without_nulls


def test_a_dot_leads_into_a_mapping() -> None:
    assert masked_settings(SMTP, ["smtp.password", "api_key"]) == {
        "smtp": {"host": "mail", "password": MASK},
        "api_key": MASK,
        "plan": "pro",
    }


@pytest.mark.parametrize("value", ["smtp://me:hunter2@mail", ["hunter2"], [{"password": "hunter2"}], 7])
def test_where_a_dot_leads_into_anything_else_all_of_it_is_secret(value: object) -> None:
    assert masked_settings({"smtp": value}, ["smtp.password"]) == {"smtp": MASK}


@pytest.mark.parametrize(
    ("patch", "merges"),
    [
        ({"api_key": MASK, "plan": "free"}, {"plan": "free"}),
        ({"api_key": "new"}, {"api_key": "new"}),
        ({"api_key": None}, {"api_key": None}),
        ({"smtp": {"password": MASK, "host": "other"}}, {"smtp": {"host": "other"}}),
        ({"plan": MASK}, {"plan": MASK}),  # not a secret, so nothing stands for it
    ],
)
def test_asterisks_keep_what_they_stand_for(patch, merges) -> None:
    assert unmasked(patch, SMTP, ["smtp.password", "api_key"]) == merges


@pytest.mark.parametrize("patch", [{"api_key": MASK}, {"smtp": {"password": MASK}}])
def test_asterisks_that_stand_for_nothing_are_refused(patch) -> None:
    with pytest.raises(InvalidTenantError, match="stands for a secret"):
        unmasked(patch, {}, ["smtp.password", "api_key"])
