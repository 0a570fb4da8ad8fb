"""Gather what Alembic would print, a statement at a time."""

from ..errors import ConfigurationError

_TRANSACTION = ("BEGIN", "COMMIT")


class Statements:
    """A file to Alembic, which writes each statement at once.

    Attributes:
        found: the statements, without the semicolon at their end.
    """

    def __init__(self) -> None:
        self.found: list[str] = []

    def write(self, text: str) -> None:
        """Take a statement.

        Raises:
            ConfigurationError: it ends the transaction, so that it needs a connection of its own.
        """
        lines = text.strip().splitlines()
        if all(line.startswith("--") for line in lines):
            return
        statement = "\n".join(lines).rstrip("; \n")
        if statement.upper() in _TRANSACTION:
            raise ConfigurationError("a migration has an autocommit_block, which cannot be part of a transaction")
        # A comment at the end would swallow the semicolon that follows.
        self.found.append(statement + "\n" if "--" in lines[-1] else statement)

    def flush(self) -> None:
        """Do nothing: all is written."""
