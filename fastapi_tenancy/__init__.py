"""Multi-tenancy for FastAPI and Starlette."""
