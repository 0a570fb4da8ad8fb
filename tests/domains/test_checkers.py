"""Several checkers as one, and checkers whose library is missing."""

import importlib.util
import sys
from types import ModuleType

import pytest

from fastapi_tenancy import AnyChecker, ConfigurationError, DomainCheckError, Tenancy
from fastapi_tenancy.multitenant import ask, domain_check, http_check


def without(missing: str, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as it is where a library is not installed."""
    for name in [name for name in sys.modules if name == missing or name.startswith(f"{missing}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    spec = importlib.util.spec_from_file_location(f"{module.__name__}_without_{missing}", module.__file__)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


async def test_without_dnspython_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    module = without("dns", domain_check, monkeypatch)
    with pytest.raises(ConfigurationError, match=r"fastapi-tenancy\[domains\]"):
        await module.DNSChecker().check("app.acme.com", "token")


def test_without_httpx2_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    module = without("httpx2", http_check, monkeypatch)
    with pytest.raises(ConfigurationError, match=r"fastapi-tenancy\[domains\]"):
        module.HTTPChecker()


async def test_without_limits_a_rate_says_what_to_install(on_sqlite: Tenancy, monkeypatch: pytest.MonkeyPatch) -> None:
    module = without("limits", ask, monkeypatch)
    with pytest.raises(ConfigurationError, match=r"fastapi-tenancy\[domains\]"):
        module.ask_router(on_sqlite)
    assert module.ask_router(on_sqlite, rate=None).routes


class Says:
    """A checker with one answer."""

    def __init__(self, answer: bool | Exception) -> None:
        self._answer = answer

    async def check(self, host: str, token: str) -> bool:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


AWAY = DomainCheckError("no answer")


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([True, AWAY], True),
        ([False, True], True),
        ([AWAY, True], True),
        ([False, False], False),
        ([], False),
        ([AWAY, False], AWAY),
        ([False, AWAY], AWAY),
        ([TimeoutError(), True], True),
    ],
)
async def test_any_checker_that_finds_the_proof_is_enough(answers: list[bool | Exception], outcome: object) -> None:
    checker = AnyChecker(*map(Says, answers))
    if isinstance(outcome, bool):
        assert await checker.check("acme.com", "token") is outcome
    else:
        with pytest.raises(DomainCheckError):
            await checker.check("acme.com", "token")


async def test_any_checker_hides_no_mistake_of_the_application() -> None:
    with pytest.raises(ConfigurationError):
        await AnyChecker(Says(ConfigurationError("not installed")), Says(True)).check("acme.com", "token")
