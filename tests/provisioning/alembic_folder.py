"""An application's Alembic folder for the tables of the tests, whose revisions are written one by one."""

from pathlib import Path
from textwrap import dedent

ENV = """
from types import SimpleNamespace
from fastapi_tenancy import TenancySettings
from fastapi_tenancy.migrations import run_tenant_migrations
from support import Base

settings = TenancySettings(database_url="sqlite:///none.db")
run_tenant_migrations(SimpleNamespace(settings=settings, metadata=Base.metadata), compare_type=False)
"""

FIRST = """
op.create_table(
    "folders",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant_id", sa.String(32), nullable=False, index=True),
    sa.Column("title", sa.String(200), nullable=False),
)
op.create_table(
    "notes",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant_id", sa.String(32), nullable=False, index=True),
    sa.Column("text", sa.String(200), nullable=False),
    sa.Column("folder_id", sa.Integer, sa.ForeignKey("folders.id")),
)
"""

# What only a migration makes, so that it tells who made the tables.
SECOND = """
op.create_table("made_by_migration", sa.Column("percent", sa.String(20), server_default="100% ; done"))
"""

# Cannot be written down beforehand: it asks the database something.
ASKS = """
assert op.get_bind().scalar(sa.text("SELECT count(*) FROM notes")) == 0
op.create_table("made_online", sa.Column("id", sa.Integer, primary_key=True))
"""


class AlembicFolder:
    """The folder, with the revisions `a1` and `b2`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        (folder / "versions").mkdir(parents=True)
        (folder / "env.py").write_text(ENV)
        self.add("a1", None, FIRST)
        self.add("b2", "a1", SECOND)

    def add(self, revision: str, after: str | None, upgrade: str) -> None:
        text = (
            f"import sqlalchemy as sa\nfrom alembic import op\n\nrevision = {revision!r}\ndown_revision = {after!r}\n"
        )
        body = "".join(f"    {line}\n" for line in dedent(upgrade).strip().splitlines())
        (self.path / "versions" / f"{revision}.py").write_text(f"{text}\n\ndef upgrade():\n{body}")

    def __str__(self) -> str:
        return str(self.path)
