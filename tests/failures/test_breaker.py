"""A breaker lets all through while what it guards answers, and one at a time while it does not."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fastapi_tenancy.store.breaker import Breaker, Refused


class Guarded(RuleBasedStateMachine):
    """Questions that begin and end in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker = Breaker(3, lambda: self.now, lambda: 1.0)
        self.asked: list[bool] = []
        self.failures = 0  # in a row

    @rule()
    def ask(self) -> None:
        try:
            self.asked.append(self.breaker.enter())
        except Refused:
            assert self.breaker.is_open

    @precondition(lambda self: self.asked)
    @rule(which=st.integers(0, 9), outcome=st.sampled_from(["answered", "failed", "given up"]))
    def end(self, which: int, outcome: str) -> None:
        is_probe = self.asked.pop(which % len(self.asked))
        if outcome == "answered":
            self.breaker.answered()
        elif outcome == "failed":
            self.breaker.failed(is_probe)
        self.breaker.left(is_probe)

    @rule(seconds=st.sampled_from([0.1, 0.25, 1.0, 2.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def at_most_one_probe(self) -> None:
        assert sum(self.asked) <= 1

    @rule()
    def after_two_seconds_somebody_may_ask(self) -> None:
        self.now += 2
        if not any(self.asked):
            self.asked.append(self.breaker.enter())


TestGuarded = Guarded.TestCase


def opened(failures: int = 3) -> tuple[Breaker, list[float]]:
    now = [0.0]
    breaker = Breaker(3, lambda: now[0], lambda: 1.0)
    for _ in range(failures):
        breaker.failed(breaker.enter())
    return breaker, now


def test_an_answer_in_between_begins_the_count_anew() -> None:
    breaker, _ = opened(2)
    breaker.answered()
    for _ in range(2):
        breaker.failed(breaker.enter())
    assert not breaker.is_open


def test_the_pauses_grow_up_to_two_seconds() -> None:
    breaker, now = opened()
    pauses = []
    for _ in range(6):
        begun = now[0]
        while True:
            try:
                is_probe = breaker.enter()
            except Refused:
                now[0] += 0.25
            else:
                break
        breaker.failed(is_probe)
        breaker.left(is_probe)
        pauses.append(now[0] - begun)
    assert pauses == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0]


def test_a_question_from_before_does_not_prolong_the_pause() -> None:
    breaker, now = opened()
    now[0] = 0.2
    breaker.failed(False)
    now[0] = 0.25
    assert breaker.enter()


def test_a_probe_that_was_given_up_leaves_its_turn_to_another() -> None:
    breaker, now = opened()
    now[0] = 1
    is_probe = breaker.enter()
    with pytest.raises(Refused):
        breaker.enter()
    breaker.left(is_probe)
    assert breaker.enter()
