"""The production compose file: pinned, healthy, secretless, and every command of ours exists."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.cli import COMMANDS
from core.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("migrate", "web", "worker", "temporal-worker")
ONE_SHOT = {name for name, service in SERVICES.items() if service.get("restart") == "no"}


def test_everything_production_needs_is_there() -> None:
    assert {"postgres", "valkey", "temporal", *OURS} <= set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    image = SERVICES[name]["image"]
    assert re.fullmatch(r"[\w./-]+:\d+\.\d+(\.\d+)?(-[\w.]+)?", image), image


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT))
def test_what_stays_up_has_a_health_check(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", OURS)
def test_commands_of_ours_exist(name: str) -> None:
    assert SERVICES[name]["command"][0] in {command.name for command in COMMANDS}


def test_no_secret_is_inside() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|PWD|TOKEN|SECRET|_KEY|_URL$", key):
                assert value == "" or "${" in value or key == "REDIS_URL", f"{name}: {key}"
                assert not re.search(r"://[^:/@]+:[^$@]+@", value), f"{name}: {key} holds a password"


def test_only_migrate_knows_the_owner() -> None:
    for name, service in SERVICES.items():
        if name not in ("migrate", "roles"):
            assert "MATHIA_OWNER_PASSWORD" not in str(service.get("environment", {})), name


def test_only_the_web_port_is_published_and_only_to_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"web": ["127.0.0.1:8080:8080"]}


def test_every_setting_given_is_one_we_read() -> None:
    known = {name.upper() for name in Settings.model_fields}
    for name in OURS:
        assert set(SERVICES[name]["environment"]) <= known, name


def test_the_environment_names_every_variable_the_file_needs() -> None:
    needed = set(re.findall(r"(?<!\$)\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    offered = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert needed == offered


def test_alembic_is_not_a_package() -> None:
    """With an __init__.py the folder would hide the library of the same name."""
    assert not list((ROOT / "alembic").rglob("__init__.py"))


def test_lock_files_name_no_host() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        assert "://" not in (ROOT / name).read_text(), name
