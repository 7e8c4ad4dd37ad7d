"""Migrations: one head, no drift, and no package where the folder of migrations must not be one."""

from pathlib import Path

from alembic.script import ScriptDirectory

from bot.migrate import alembic_config, drift, migrate

ROOT = Path(__file__).resolve().parents[2]


def test_alembic_folder_is_no_package() -> None:
    assert not list((ROOT / "alembic").rglob("__init__.py"))


def test_migrations_have_one_head() -> None:
    assert len(ScriptDirectory.from_config(alembic_config("")).get_heads()) == 1


async def test_migrations_make_exactly_the_models(owner_url: str) -> None:
    assert await drift(owner_url) is None


async def test_migrating_twice_changes_nothing(owner_url: str) -> None:
    await migrate(owner_url)
    await migrate(owner_url)
    assert await drift(owner_url) is None
