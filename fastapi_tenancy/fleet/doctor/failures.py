"""What a database, a file or a server that is not as it should be answers with."""

from sqlalchemy.exc import SQLAlchemyError

from ...errors import TenancyError

FAILURES = (SQLAlchemyError, TenancyError, OSError)


def said(error: BaseException) -> str:
    """What an error says, in one line, without the SQL that it came of."""
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split()) or type(cause).__name__
