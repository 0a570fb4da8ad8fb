"""Tell SQL text from names: nobody can say which rows a piece of SQL text reads."""

import re
from typing import NoReturn

from sqlalchemy.exc import DontWrapMixin

from ...errors import IsolationError

# What SQLAlchemy itself makes count(*), exists(), any(), contains() and polymorphic_union() of.
_HARMLESS_LITERAL = re.compile(r"\*|\d+|'(?:[^'\\]|'')*'")

_OPERATOR_SYMBOLS = re.compile(r"[-+*/<>=~!@%^&|?:]+")
_POSTGRESQL_SYMBOLS = re.compile(r"[-+*/<>=~!@%^&|?:#]+")  # elsewhere # starts a comment
_COMMENT = re.compile(r"--|/\*|\*/")
_OPERATOR_WORDS = frozenset(
    {
        "AT TIME ZONE",
        "DIV",
        "GLOB",
        "ILIKE",
        "IS",
        "IS DISTINCT FROM",
        "IS NOT",
        "IS NOT DISTINCT FROM",
        "LIKE",
        "MATCH",
        "MOD",
        "NOT GLOB",
        "NOT ILIKE",
        "NOT LIKE",
        "NOT REGEXP",
        "NOT RLIKE",
        "NOT SIMILAR TO",
        "OVERLAPS",
        "REGEXP",
        "RLIKE",
        "SIMILAR TO",
        "SOUNDS LIKE",
        "XOR",
    }
)

# Functions that run SQL they are given as a string, that read files, pages, logs or other connections, that change
# settings, that tell what the connection last did for somebody else, or whose locks outlast the transaction; of those
# of PostgreSQL itself whatever is not known to do none of it.
_REACHING_FUNCTION = re.compile(
    r"(?:query|table|schema|database|cursor)_to_xml.*|ts_stat|ts_rewrite|xpath_table|crosstab.*|connectby|dblink.*"
    r"|pgr_.*|run_command_on_.*|get_raw_page.*|\w+_page_items.*|lo_.*|loread|lowrite|set_config|setval|currval|lastval"
    r"|pg_(?!(?:typeof|column_size|collation_for|size_pretty|size_bytes|backend_pid|sleep|notify"
    r"|(?:try_)?advisory_xact_lock(?:_shared)?)$).*"
    r"|load_file|spider_.*|sys_.*|ps_.*|last_insert_id|(?:get|release|is_free|is_used)_lock|release_all_locks"
    r"|load_extension|readfile|writefile|edit|eval|fts3_tokenizer|last_insert_rowid|pragma_.*",
    re.IGNORECASE,
)

# Functions that make rows of their arguments; by another name it may be a full-text index, or a query of its own.
_TABLE_FUNCTION = re.compile(
    r"jsonb?_\w+|generate_series|unnest|regexp_matches|regexp_split_to_table|string_to_table", re.IGNORECASE
)

_QUOTED = r"""(?:"(?:[^"]|"")*"|'(?:[^']|'')*'|`(?:[^`]|``)*`)"""
_NAME = rf"(?:\w+|{_QUOTED})"
_SIZES = rf"(?: ?\({_NAME}(?:, ?{_NAME})*\))?"
# What may follow the name of a type. Elsewhere than in a CAST a type ends nowhere: "INTERVAL DAY FROM notes".
_TYPE_WORD = (
    "ASCII|BINARY|CHAR|CHARACTER|DAY|HOUR|INTEGER|LOCAL|MINUTE|MONTH|PRECISION|SECOND|TIME|TO|UNICODE|UNSIGNED|VARCHAR"
    rf"|VARYING|WITH|WITHOUT|YEAR|ZEROFILL|ZONE|(?:CHARACTER SET|CHARSET|COLLATE) {_NAME}"
)
_TYPE = re.compile(rf"{_NAME}(?:\.{_NAME})*{_SIZES}(?: (?:{_TYPE_WORD}){_SIZES})*(?:\[\])*", re.IGNORECASE)
_UNQUOTED = re.compile(r"\w+|__\[SCHEMA_\w+\]")  # the latter is SQLAlchemy's own, for schema_translate_map
_FIELD = re.compile(r"\w+")
_COLLATION = re.compile(r"[\w.@-]+")


class StatementRefusedError(IsolationError, DontWrapMixin):
    """An `IsolationError` that SQLAlchemy passes on as it is, instead of wrapping it in a `StatementError`."""


def refuse(why: str) -> NoReturn:
    raise StatementRefusedError(f"refused in a tenant's session: {why}")


def refuse_text(text: object) -> NoReturn:
    refuse(f"{str(text)[:80]!r} is SQL text, and nobody can tell whose rows it reads; use mapped columns and func.…")


def check_literal(text: str) -> None:
    """Refuse a `literal_column` that is more than a star, a number or a quoted string."""
    if not _HARMLESS_LITERAL.fullmatch(text):
        refuse_text(text)


def check_operator(text: str, dialect_name: str) -> None:
    """Refuse what `.op(…)` would put into the SQL as it is, unless it is one symbol or a word that is known."""
    symbols = _POSTGRESQL_SYMBOLS if dialect_name == "postgresql" else _OPERATOR_SYMBOLS
    is_symbol = symbols.fullmatch(text) and not _COMMENT.search(text)
    if not is_symbol and " ".join(text.upper().split()) not in _OPERATOR_WORDS:
        refuse(f"the operator {text!r} is SQL text; use a symbol, or one of {', '.join(sorted(_OPERATOR_WORDS))}")


def check_function(name: str, *, in_from: bool) -> None:
    """Refuse a function that can read what its arguments do not hold, or leave something on the connection.

    `in_from`: it stands where a table stands, so it must be known to make its rows of its arguments.
    """
    if _REACHING_FUNCTION.fullmatch(name) or (in_from and not _TABLE_FUNCTION.fullmatch(name)):
        refuse(
            f"the function {name!r} may reach other tenants' rows, or outlast the transaction; call it on a connection "
            "of your own"
        )


def check_type(text: str) -> str:
    """Return `text` if it reads as a type: a name, sizes in parentheses, and words that are known to follow."""
    if not _TYPE.fullmatch(text):
        refuse(f"the type {text!r} is SQL text; use one of SQLAlchemy's types")
    return text


def check_unquoted(name: str) -> None:
    if not _UNQUOTED.fullmatch(name):
        refuse_text(name)


def check_extract_field(field: str) -> None:
    if not _FIELD.fullmatch(field):
        refuse(f"extract({field!r}, …) is SQL text; name one field, such as 'year'")


def check_collation(name: str) -> None:
    if not _COLLATION.fullmatch(name):
        refuse(f"collate({name!r}) is SQL text; name one collation")
