"""An application with an Alembic folder, for the tests of migrations."""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

from alembic.config import main

from fastapi_tenancy.migrations import MigrationScripts

MODELS = """
class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(200))
"""

APPLICATION = """
from fastapi import FastAPI
from sqlalchemy import *
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_tenancy import HeaderResolver, Tenancy, TenancySettings, TenantScoped


class Base(DeclarativeBase):
    pass

{models}

settings = TenancySettings(**{settings!r})
tenancy = Tenancy(settings, resolvers=[HeaderResolver("X-Tenant-ID")], metadata=Base.metadata)
app = FastAPI(lifespan=tenancy.lifespan)
"""

REVISION = """
import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {after!r}
branch_labels = {label!r}


def upgrade():
    {upgrade}


def downgrade():
    {downgrade}
"""


@dataclass
class Shop:
    """The application, in `folder`."""

    folder: Path
    module: str

    @property
    def migrations(self) -> Path:
        return self.folder / "migrations"

    def write(self, models: str = MODELS, **settings: object) -> None:
        settings = {"database_url": f"sqlite:///{self.folder}/data/tenancy.db", **settings}
        sys.modules.pop(self.module, None)
        text = APPLICATION.format(models=models, settings=settings)
        (self.folder / f"{self.module}.py").write_text(text)
        importlib.invalidate_caches()

    def revision(
        self,
        revision: str,
        after: str | tuple[str, ...] | None,
        upgrade: str = "pass",
        *,
        label: str | None = None,
        downgrade: str = "pass",
    ) -> None:
        upgrade = upgrade.strip().replace("\n", "\n    ")
        text = REVISION.format(revision=revision, after=after, upgrade=upgrade, label=label, downgrade=downgrade)
        (self.migrations / "versions" / f"{revision}.py").write_text(text)

    def run_with(self, **options: object) -> None:
        """Have env.py hand options to Alembic."""
        env = self.migrations / "env.py"
        given = "".join(f", {name}={value!r}" for name, value in options.items())
        env.write_text(env.read_text().replace("(tenancy)", f"(tenancy{given})"))

    @property
    def scripts(self) -> MigrationScripts:
        return MigrationScripts(self.migrations)

    def alembic(self, *words: str) -> None:
        """Call Alembic's own command; it exits where it fails."""
        main(argv=["-c", str(self.migrations / "alembic.ini"), *words])

    def autogenerate(self, *words: str) -> str:
        """The revision that Alembic writes now."""
        before = set((self.migrations / "versions").iterdir())
        self.alembic(*words, "revision", "--autogenerate", "-m", "generated")
        return (set((self.migrations / "versions").glob("*.py")) - before).pop().read_text()
