"""The connections to a database server: a budget of them, and the SQLAlchemy pools that draw on it."""

from .asynchronous import BudgetedPool
from .blocking import BlockingBudgetedPool
from .budget import ConnectionBudget
from .driver import codes_of

__all__ = ["BlockingBudgetedPool", "BudgetedPool", "ConnectionBudget", "codes_of"]
