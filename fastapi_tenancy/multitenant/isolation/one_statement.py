"""Let SQL text through if it is one ordinary statement, which leaves the session and the server as they are.

PostgreSQL keeps tenants' rows apart whatever a statement says, as long as no statement changes who the tenant is. So we
look for words only, and leave it to PostgreSQL to understand them. Text that could be split into words in two ways is
refused: a backslash before a quote, which means two things in two kinds of string; nested comments; `U&"…"`; `$$`.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from ...store.models import store_metadata
from .text import refuse

_STATEMENTS = frozenset(
    """delete explain insert lock merge release rollback savepoint select show table update values
    with""".split()  # noqa: SIM905 - a list would take fifteen lines
)
_NOT_EXPLAINED = frozenset({"create", "declare", "execute", "refresh"})  # EXPLAIN ANALYZE runs them

# Functions that change settings or other sessions, run SQL they are given as a string, or reach files, other servers
# and large objects, which have no row security. Most of what the server shows and does goes by pg_….
_REACHING_NAME = re.compile(
    r"set_config|setval|ts_stat|ts_rewrite|(?:query|table|schema|database|cursor)_to_xml\w*"
    r"|xpath_table|crosstab\w*|connectby|dblink\w*|lo_(?:creat|export|from|get|import|lseek|open|put|tell|trunc|unlink)\w*"
    r"|loread|lowrite|pg_\w+"
)
_HARMLESS_NAME = re.compile(
    r"pg_(?:catalog|typeof|column_size|size_pretty|input_is_valid|backend_pid|notify|sleep\w*"
    r"|(?:try_)?advisory_xact_lock(?:_shared)?)"
)
_OWN_TABLES = frozenset({*store_metadata.tables, "tenancy_revisions"})  # all tenants are listed in them

# What PostgreSQL takes for a letter: anything beyond ASCII, also where Unicode calls it a space.
_LETTER = r"A-Za-z_\x80-\U0010ffff"
_TOKEN = re.compile(
    rf"""
      (?P<skip> (?: \$[0-9]+ | /(?!\*) | -(?!-) | [^'"$/\-();{_LETTER}] )++ )
    | (?P<comment> --[^\n\r]*+ | /\*(?:(?!/\*|\*/)[\s\S])*+\*/ )
    | (?P<string> '(?:[^'\\]|''|\\(?!'))*+' )
    | (?P<name> "(?:[^"]|"")*+" )
    | (?P<word> (?!U&") [{_LETTER}][{_LETTER}0-9$]*+ )
    | (?P<mark> [();] )
    """,
    re.VERBOSE | re.IGNORECASE,
)

# As psycopg finds them, also within strings and comments; and those that read the same whether or not it replaces them.
_PLACEHOLDER = re.compile(r"%(?:\([^)]+\).|.)")
_PLAIN_PLACEHOLDER = re.compile(r"(?<!%)%\(\w+\)s(?![\w$])")


class _Token(NamedTuple):
    kind: str
    text: str


@lru_cache(maxsize=500)  # as many as SQLAlchemy remembers compiled
def check_one_statement(sql: str) -> None:
    """Refuse `sql` unless it is one statement that reads or writes rows, and names nothing that does more.

    Raises:
        IsolationError: says what is refused.
    """
    # As the driver is given it, and as psycopg sends it: which of the two PostgreSQL sees depends on the parameters.
    sql = _PLAIN_PLACEHOLDER.sub("$1", sql)
    sent_by_psycopg = _PLACEHOLDER.sub(lambda found: "%" if found[0] == "%%" else "$1", sql)
    for sent in dict.fromkeys((sql, sent_by_psycopg)):
        tokens = list(_tokens(sent))
        while tokens and tokens[-1].text == ";":
            tokens.pop()
        if any(token.text == ";" for token in tokens):
            refuse("this is more than one statement; execute them one by one")
        _check_kind([token.text for token in tokens if token.kind == "word"])
        for token in tokens:
            _check_name(token)
        if _makes_a_table(tokens):
            refuse("SELECT … INTO makes a table without row-level security; use INSERT INTO … SELECT")


def _tokens(sql: str) -> Iterator[_Token]:
    """Words, names, parentheses and semicolons, in lower case."""
    at = 0
    while at < len(sql):
        found = _TOKEN.match(sql, at)
        if found is None or found.lastgroup is None:
            refuse(
                f"{sql[at : at + 40]!r} can be read in more than one way (a quote behind a backslash or left open, U&, "
                "$$ or a comment in a comment); give values as parameters"
            )
        at = found.end()
        if found.lastgroup not in ("skip", "comment", "string"):
            yield _Token(found.lastgroup, found[0].lower())


def _check_kind(words: Sequence[str]) -> None:
    kind = words[0] if words else ""
    if kind not in _STATEMENTS or (kind == "rollback" and words[1:2] != ["to"]):
        refuse(
            f"{kind.upper() or 'no statement'} is not among {', '.join(sorted(_STATEMENTS)).upper()}; transactions are "
            "the session's to end, and whatever changes the server needs a connection of your own"
        )
    if kind == "explain" and not _NOT_EXPLAINED.isdisjoint(words):
        refuse("EXPLAIN may explain queries only")


def _check_name(token: _Token) -> None:
    name = token.text[1:-1].replace('""', '"') if token.kind == "name" else token.text
    if name in _OWN_TABLES or (_REACHING_NAME.fullmatch(name) and not _HARMLESS_NAME.fullmatch(name)):
        refuse(f"{name} reaches beyond the tenant's rows; use it on a connection of your own")


def _makes_a_table(tokens: Sequence[_Token]) -> bool:
    """Whether an INTO belongs to a SELECT: unlike that of INSERT and MERGE, it stands behind the SELECT."""
    selecting = [False]  # for each parenthesis that is open
    for kind, text in tokens:
        if text == "(":
            selecting.append(False)
        elif text == ")" and len(selecting) > 1:
            selecting.pop()
        elif kind == "word" and text == "select":
            selecting[-1] = True
        elif kind == "word" and text == "into" and selecting[-1]:
            return True
    return False
