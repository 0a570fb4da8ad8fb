"""A table with a column of each type, and tables that refer to themselves and to each other."""

import enum
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Date,
    DateTime,
    Double,
    Enum,
    ForeignKey,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    PickleType,
    String,
    Text,
    Time,
    Uuid,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.postgresql import INET, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_tenancy import TenantScoped


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


def _exactly(plain: Any, exact: Any) -> Any:
    return plain.with_variant(exact, "mysql", "mariadb")


class Base(DeclarativeBase):
    pass


class Thing(TenantScoped, Base):
    __tablename__ = "things"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    flag: Mapped[bool | None]
    number: Mapped[int | None] = mapped_column(BigInteger)
    ratio: Mapped[float | None] = mapped_column(Double)
    price: Mapped[Decimal | None] = mapped_column(Numeric(12, 4))
    text: Mapped[str | None] = mapped_column(_exactly(Text(), mysql.TEXT(charset="utf8mb4")))
    blob: Mapped[bytes | None] = mapped_column(LargeBinary)
    moment: Mapped[datetime | None] = mapped_column(
        _exactly(DateTime(timezone=True), mysql.DATETIME(timezone=True, fsp=6))
    )
    local: Mapped[datetime | None] = mapped_column(_exactly(DateTime(), mysql.DATETIME(fsp=6)))
    day: Mapped[date | None] = mapped_column(Date)
    hour: Mapped[time | None] = mapped_column(_exactly(Time(), mysql.TIME(fsp=6)))
    length: Mapped[timedelta | None] = mapped_column(Interval(second_precision=6))
    key: Mapped[UUID | None] = mapped_column(Uuid)
    mood: Mapped[Mood | None] = mapped_column(Enum(Mood))
    document: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)
    pickled: Mapped[Any] = mapped_column(PickleType, nullable=True)


class Node(TenantScoped, Base):
    """Refers to later rows of its own, and to rows of a table that refers to it."""

    __tablename__ = "nodes"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id"))
    favourite_id: Mapped[int | None] = mapped_column(ForeignKey("leaves.id", use_alter=True, name="favourite"))


class Leaf(TenantScoped, Base):
    __tablename__ = "leaves"

    id: Mapped[int] = mapped_column(primary_key=True)
    node_id: Mapped[int] = mapped_column(ForeignKey("nodes.id"))


class Plan(Base):
    __tablename__ = "plans"
    __table_args__ = {"info": {"tenancy": "shared"}}  # noqa: RUF012 - as SQLAlchemy wants it

    id: Mapped[int] = mapped_column(primary_key=True)


class PostgreSQLBase(DeclarativeBase):
    pass


class Rare(TenantScoped, PostgreSQLBase):
    """What only PostgreSQL has."""

    __tablename__ = "rare"

    id: Mapped[int] = mapped_column(primary_key=True)
    tags: Mapped[list[str] | None] = mapped_column(ARRAY(String))
    grid: Mapped[list[list[int]] | None] = mapped_column(ARRAY(Integer, dimensions=2))
    document: Mapped[Any] = mapped_column(JSONB, nullable=True)
    address: Mapped[str | None] = mapped_column(INET)
    mood: Mapped[Mood | None] = mapped_column(Enum(Mood, name="mood"))
    length: Mapped[timedelta | None] = mapped_column(Interval)
