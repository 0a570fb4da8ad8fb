"""The errors of this package under the names that ACA-Py gave them."""

from ..errors import TenancyError as MultitenantManagerError
from ..errors import TenantKeyMissingError

WalletKeyMissingError = TenantKeyMissingError

__all__ = ["MultitenantManagerError", "TenantKeyMissingError", "WalletKeyMissingError"]
