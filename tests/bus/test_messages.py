"""Messages say what changed, and one that cannot be understood makes nobody go on with what may be old."""

import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_tenancy.bus import EVERYTHING, Change
from fastapi_tenancy.bus.change import Messages

ids = st.text("0123456789abcdef", min_size=32, max_size=32)
names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
changes = st.one_of(
    st.builds(Change.of_tenant, ids),
    st.builds(Change.of_tenant, ids, names),
    st.builds(Change.of_token, ids),
    st.builds(Change.of_domain, ids, st.text("abcdefghijklmnop.", min_size=1, max_size=253)),
    st.just(EVERYTHING),
)


def told(written: list[Change]) -> list[Change]:
    reader = Messages()
    return [change for text in Messages().write(written) for change in reader.changes_in(text)]


@settings(max_examples=30)
@given(st.lists(changes, max_size=30))
def test_what_is_written_is_read(written: list[Change]) -> None:
    assert told(written) == written


@settings(max_examples=50)
@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_garbage_is_ignored(text: str) -> None:
    assert Messages().changes_in(text) == ()


def test_garbage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    messages = Messages()
    for text in ("", "nonsense", "[]", "[" * 100_000):
        assert messages.changes_in(text) == ()
    assert [record.message for record in caplog.records] == ["bus carries what is no message of a worker"]
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.parametrize(
    "given",
    [
        {"v": 2},
        {"v": 1},
        {"v": 1, "changes": 7},
        {"v": 1, "changes": [["tenant"]]},
        {"v": 1, "changes": [["token", "a", "b"]]},
        {"v": 1, "changes": [["planet", "earth"]]},
        {"v": 1, "changes": [[["tenant"], "a"]]},
    ],
)
def test_what_a_newer_worker_writes_clears_everything(given: dict[str, object]) -> None:
    assert list(Messages().changes_in(json.dumps({"from": "x", **given}))) == [EVERYTHING]


def test_ones_own_messages_are_not_heard() -> None:
    messages = Messages()
    assert [messages.changes_in(text) for text in messages.write([EVERYTHING])] == [()]
    assert (messages.written, messages.read) == (1, 0)


def test_a_message_fits_into_a_notification_of_postgresql() -> None:
    longest = [Change.of_domain("f" * 32, "a" * 253)] * 45
    texts = list(Messages().write(longest))
    assert len(texts) == 3
    assert max(map(len, texts)) < 8000


def test_very_many_changes_are_everything() -> None:
    assert told([Change.of_token(str(number)) for number in range(201)]) == [EVERYTHING]
