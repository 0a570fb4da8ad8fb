"""The program `fastapi-tenancy`, also as `python -m fastapi_tenancy`; without its extra, it says which one it needs."""

import sys

try:
    from .cli import main
except ModuleNotFoundError as error:
    if error.name not in ("typer", "rich"):
        raise
    sys.exit("fastapi-tenancy: it needs typer and rich; install the extra from the checkout: pip install '.[cli]'")

if __name__ == "__main__":
    sys.exit(main())
