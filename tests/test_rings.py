"""Modules import only from lower rings, or from their own folder."""

import ast
from collections.abc import Iterator
from pathlib import Path

import fastapi_tenancy

PACKAGE = Path(fastapi_tenancy.__file__).parent

# From the inside out; modules of one line do not know each other.
ORDER = (
    "errors",
    "deadlines tenant refusal sealing secret_settings",
    "forks migration_gate background context settings connections urls sqlite bearer audit events resolution",
    "usage",
    "engines acts",
    "resolvers cache migrations bus",
    "store limits",
    "directory multitenant",
    "claims",
    "lifecycle rekeying middleware dependencies watch trail",
    "route_kinds token_scopes coherence health",
    "openapi",
    "administration",
    "fleet",
    "tenancy",
    "__init__",
    "testing cli jobs observability",
    "__main__",
)
RINGS = {name: ring for ring, names in enumerate(ORDER) for name in names.split()}


def imported(file: Path) -> Iterator[str]:
    """The first part below the package of everything that `file` imports from it."""
    depth = len(file.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")
            if node.level == depth:
                yield from [module[0]] if node.module else [alias.name for alias in node.names]
            elif node.level == 0 and module[0] == "fastapi_tenancy":
                yield module[1] if len(module) > 1 else "__init__"


def test_imports_point_inwards() -> None:
    upward = [
        f"{file.relative_to(PACKAGE)} imports {target}"
        for file in PACKAGE.rglob("*.py")
        for part in [file.relative_to(PACKAGE).parts[0].removesuffix(".py")]
        for target in imported(file)
        if not RINGS[target] < RINGS[part]
    ]
    assert upward == []


def test_every_module_has_a_ring() -> None:
    parts = {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in PACKAGE.rglob("*.py")}
    assert parts <= set(RINGS)


def test_the_ancestors_modules_are_here() -> None:
    ancestors = [
        "cache/base.py",
        "cache/in_memory.py",
        "cache/tenant_cache.py",
        "multitenant/base.py",
        "multitenant/cache.py",
        "multitenant/error.py",
        "multitenant/manager.py",
        "multitenant/manager_provider.py",
        "multitenant/route_manager.py",
        "multitenant/admin/routes.py",
    ]
    assert [name for name in ancestors if not (PACKAGE / name).is_file()] == []
