"""An HTTP API for those who run the application."""

from .routes import admin_router

__all__ = ["admin_router"]
