"""What keeps rows from being copied."""

from ...errors import TenancyError


class RowsError(TenancyError):
    """The rows cannot be copied as they are; an archive and a move say so with an error of their own."""
