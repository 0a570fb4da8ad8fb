"""Each tenant has the limit of its plan, apart from what its own settings say."""

import logging
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traffic import a_tenant

from fastapi_tenancy import ConfigurationError, Limit, TenantLimits
from fastapi_tenancy.limits.plans import LimitsOfTenants

FREE, PRO, OTHER = Limit(rate="60/minute", concurrency=2), Limit(rate="6000/minute", concurrency=20), Limit()
PLANS = {"free": FREE, "pro": PRO}


def limits(defaults: dict[str, Any] | None = None, size: int = 10, **given: Any) -> LimitsOfTenants:
    return LimitsOfTenants(TenantLimits(PLANS, **{"default": OTHER, **given}), defaults or {}, size)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"plan": "free"}, FREE),
        ({"plan": "pro"}, PRO),
        ({}, OTHER),
        ({"plan": None}, OTHER),
        ({"plan": "gold"}, OTHER),
        ({"plan": ["pro"]}, OTHER),
        ({"plan": {"pro": 1}}, OTHER),
        ({"plan": "free", "limits": {"concurrency": 5}}, Limit(rate="60/minute", concurrency=5)),
        ({"plan": "free", "limits": {"rate": "500 per 2 hours"}}, Limit(rate="500 per 2 hours", concurrency=2)),
        ({"plan": "free", "limits": {"rate": None}}, Limit(concurrency=2)),
        ({"limits": {"concurrency": 1, "queue": 0}}, Limit(concurrency=1, queue=0)),
        ({"limits": {"concurrency": 1, "queue_timeout": 1}}, Limit(concurrency=1, queue_timeout=1)),
        ({"plan": "pro", "limits": {}}, PRO),
        ({"plan": "pro", "limits": None}, PRO),
    ],
)
def test_a_tenant_has_the_limit_of_its_plan_and_settings(settings: dict[str, Any], expected: Limit) -> None:
    assert limits().of(a_tenant(**settings)) == expected


NONSENSE = [
    "5/minute",
    7,
    ["rate"],
    {"rate": "sixty a minute"},
    {"rate": 60},
    {"rate": "0/minute"},
    {"rate": "1/second; 9/minute"},
    {"rate": "9" * 5000 + "/minute"},
    {"rate": "5/999999999999 days"},
    {"concurrency": 0},
    {"concurrency": -1},
    {"concurrency": True},
    {"concurrency": 2.0},
    {"concurrency": "5"},
    {"concurrency": 5, "rate": "nonsense"},
    {"queue": -1},
    {"queue": None},
    {"queue_timeout": 0},
    {"queue_timeout": 10**400},
    {"queue_timeout": float("nan")},
    {"queue_timeout": float("inf")},
    {"queue_timeout": None},
    {"burst": 5},
    {"parsed_rate": None},
]


@pytest.mark.parametrize("nonsense", NONSENSE, ids=repr)
def test_nonsense_in_a_tenants_settings_leaves_it_its_plan(nonsense: Any, caplog: pytest.LogCaptureFixture) -> None:
    known = limits()
    assert known.of(a_tenant(plan="free", limits=nonsense)) == FREE
    assert known.of(a_tenant(plan="free", limits=nonsense)) == FREE  # read from the store again
    logged = [(record.message, record.tenant) for record in caplog.records]
    assert logged == [("tenant has invalid limits", "acme")]


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=4))
def test_whatever_stands_in_the_settings_a_limit_comes_out(value: Any) -> None:
    known = limits(default="free")
    for key in ("rate", "concurrency", "queue", "queue_timeout"):
        limit = known.of(a_tenant(limits={key: value}))
        assert limit == FREE or getattr(limit, key) == value
    assert known.of(a_tenant(limits=value)) == FREE
    assert known.of(a_tenant(plan=value)) in {FREE, PRO}


def test_an_unknown_plan_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    known = limits()
    for _ in range(3):
        known.of(a_tenant(plan="gold"))
    assert [(record.message, record.tenant, record.plan) for record in caplog.records] == [
        ("tenant has an unknown plan", "acme", "gold")
    ]


def test_a_tenant_without_a_plan_is_nothing_to_log(caplog: pytest.LogCaptureFixture) -> None:
    limits().of(a_tenant())
    assert caplog.records == []


def test_default_settings_name_the_plan_of_tenants_that_have_none() -> None:
    known = limits({"plan": "free", "limits": {"concurrency": 3}})
    assert known.of(a_tenant("a")) == replace(FREE, concurrency=3)
    assert known.of(a_tenant("b", plan="pro", limits={"concurrency": 9})) == replace(PRO, concurrency=9)


def test_the_default_may_be_a_plan() -> None:
    assert limits(default="free").of(a_tenant()) is FREE


def test_another_setting_may_name_the_plan() -> None:
    assert limits(key="tier").of(a_tenant(tier="pro", plan="free")) is PRO


def test_a_tenants_limit_is_worked_out_once(caplog: pytest.LogCaptureFixture) -> None:
    known, acme = limits(), a_tenant(plan="free", limits={"concurrency": 7})
    assert known.of(acme) is known.of(acme) is known.of(replace(acme, identifier="other"))
    assert known.of(a_tenant(plan="free", limits={"concurrency": 7})) is known.of(acme)


def test_a_change_of_plan_holds_from_the_changed_tenant_on() -> None:
    known = limits()
    assert [known.of(a_tenant(plan=plan)) for plan in ("free", "pro", "free")] == [FREE, PRO, FREE]


def test_no_more_tenants_are_remembered_than_allowed() -> None:
    known = limits(size=10)
    for number in range(1000):
        known.of(a_tenant(f"t{number}", plan="free"))
        assert len(known._known) <= 10


@pytest.mark.parametrize(
    "make",
    [
        lambda: Limit(rate="sixty"),
        lambda: Limit(rate="1/second;2/minute"),
        lambda: Limit(rate="0/second"),
        lambda: Limit(rate="1/2 years"),
        lambda: Limit(concurrency=0),
        lambda: Limit(queue=-1),
        lambda: Limit(queue_timeout=0),
        lambda: TenantLimits(PLANS, default="gold"),
        lambda: TenantLimits(PLANS, default=FREE, streams="/events"),
        lambda: TenantLimits(PLANS, default=FREE, streams=("events",)),
        lambda: TenantLimits(PLANS, default=FREE, streams=("/",)),
    ],
)
def test_a_limit_that_cannot_be_is_refused_at_construction(make: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"give|choose|write"):
        make()


def test_nothing_secret_of_a_tenant_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        limits().of(a_tenant(plan="gold", password="hunter2"))
    assert "hunter2" not in str([vars(record) for record in caplog.records])
