"""Tell SQL that leads out of the tenant's schema, as far as its text shows it."""

import re
from collections.abc import Mapping
from functools import cache

from .places import Places
from .text import check_function, refuse

_GAP = r"(?:\s|/\*.*?\*/|--[^\n]*\n)*"
_BEGINNING = rf"(?:\A|;|/\*!\d*){_GAP}"
_FLAGS = re.IGNORECASE | re.DOTALL

# In SQL of whatever origin: another tenant's schema, a name in escapes that could hide one, the server's own schemas,
# where names, statistics and statements of all tenants can be read.
_OUTSIDE: Mapping[str, re.Pattern[str]] = {
    backend: re.compile(
        rf"""\bt_[0-9a-f]{{32}}\b|\bU&["']|(?<![\w.])["`]?(?:{"|".join(schemas)})["`]?{_GAP}\.""",
        _FLAGS,
    )
    for backend, schemas in {
        "postgresql": ("information_schema", "pg_catalog", "pg_toast"),
        "mysql": ("information_schema", "performance_schema", "mysql", "sys"),
    }.items()
}

# In SQL text: catalogs by their bare names, changes of where bare names lead, and statements that run another text.
_REACHING: Mapping[str, re.Pattern[str]] = {
    backend: re.compile("|".join(parts), _FLAGS)
    for backend, parts in {
        "postgresql": (
            r"\b(?:search_path|information_schema)\b",
            rf"""(?<![\w.])"?pg_\w+\b(?!"?{_GAP}\()""",
            rf"{_BEGINNING}SET\b{_GAP}(?:(?:SESSION|LOCAL)\b{_GAP})?(?:SCHEMA|ROLE|AUTHORIZATION)\b",
            rf"""\bDO\b{_GAP}(?:LANGUAGE\b|[$']|E')""",
            rf"""\bEXECUTE\b{_GAP}["\w]""",
            rf"""\bPREPARE\b{_GAP}["\w]+{_GAP}(?:\(|AS\b)""",
        ),
        "mysql": (
            r"\b(?:information_schema|performance_schema)\b",
            rf"{_BEGINNING}(?:USE|HANDLER|SET\b{_GAP}ROLE)\b",
            rf"""\bEXECUTE\b{_GAP}["`'@\w]""",
            rf"""\bPREPARE\b{_GAP}["`\w]+{_GAP}FROM\b""",
        ),
    }.items()
}

_CALLED = re.compile(rf"""(\w+)["`]?{_GAP}\(""", _FLAGS)


def check_names(sql: str, places: Places) -> None:
    """Refuse SQL, of whatever origin, that names a schema other than the tenant's, except for a shared table in it."""
    if found := _OUTSIDE[places.backend].search(sql):
        refuse(f"{found[0]!r} leads out of the tenant's schema; leave the schema out")
    shared = {_key(table.schema or places.shared_schema, table.name) for table in places.shared_tables}
    own = {table.name.lower() for table in places.own_tables}
    for found in _qualified(_schemas_of(places)).finditer(sql):
        is_other = found["type"] or (found["call"] and found["name"].lower() not in own)
        if not is_other and _key(found["schema"], found["name"]) not in shared:
            refuse(f"{found[0]!r} leads out of the tenant's schema, to a table that is not shared")


def check_text(text: str, places: Places) -> None:
    """Refuse SQL text that leads out of the tenant's schema, or could make a later one do so."""
    check_names(text, places)
    if found := _REACHING[places.backend].search(text):
        refuse(f"{found[0]!r} in SQL text may lead out of the tenant's schema; use a connection of your own")
    for name in _CALLED.findall(text):
        check_function(name, in_from=False)
    shared = {table.schema for table in places.shared_tables if table.schema}
    if found := _written(_schemas_of(places) | shared).search(text):
        refuse(f"{found[0]!r} writes what is not the tenant's; what all tenants share, they read and none writes")


def _schemas_of(places: Places) -> frozenset[str]:
    """The schemas where the deployment's own tables may be."""
    return frozenset({places.shared_schema, "public"} if places.backend == "postgresql" else {places.shared_schema})


def _key(schema: str, name: str) -> str:
    return f"{schema}.{name}".lower()


@cache
def _qualified(schemas: frozenset[str]) -> re.Pattern[str]:
    """A name in one of the schemas; a function's or a type's is told apart."""
    return re.compile(
        rf"""(?P<type>::{_GAP}|\bAS\b{_GAP})?(?<![\w.])["`]?(?P<schema>{_any(schemas)})["`]?{_GAP}\.{_GAP}"""
        rf"""["`]?(?P<name>\w+)["`]?(?P<call>{_GAP}\()?""",
        _FLAGS,
    )


@cache
def _written(schemas: frozenset[str]) -> re.Pattern[str]:
    return re.compile(
        rf"""\b(?:INTO|UPDATE|DELETE{_GAP}FROM|TRUNCATE|TABLE|COPY|REPLACE|EXISTS)\b{_GAP}(?:ONLY\b{_GAP})?"""
        rf"""["`]?(?:{_any(schemas)})["`]?{_GAP}\.""",
        _FLAGS,
    )


def _any(names: frozenset[str]) -> str:
    return "|".join(map(re.escape, sorted(names)))
