"""docs/configuration.md against the models that read the file."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_origin

import pytest
from pydantic import BaseModel

from motet.config import settings
from motet.config.loading import load_config
from motet.config.model import (
    DEFAULT_PARALLEL,
    BreakerSettings,
    Limits,
    RetrySettings,
    Timeouts,
)
from motet.config.values import duration, size

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([\w.]+)` \|[^|]*\| ([^|]*) \|", PAGE, re.M))


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kinds = (
            [field.annotation]
            if get_origin(field.annotation) is dict
            else [field.annotation, *get_args(field.annotation)]
        )
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if inner is None:
            yield prefix + name
        else:
            yield from keys(inner, f"{prefix}{name}.")


def test_the_page_holds_every_key_and_no_other():
    server = set(keys(settings.ServerTable)) - {"object"}
    server.add("timeout")
    file = {name for name in settings.File.model_fields if name != "secrets"} | {"secrets.NAME"}
    assert set(ROWS) == server | file


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("parallel", DEFAULT_PARALLEL),
        ("timeout.connect", Timeouts().connect),
        ("timeout.call", Timeouts().call),
        ("timeout.close", Timeouts().close),
        ("retry.attempts", RetrySettings().policy.attempts),
        ("retry.base", RetrySettings().policy.base),
        ("retry.cap", RetrySettings().policy.cap),
        ("retry.budget", RetrySettings().budget),
        ("retry.budget_min", RetrySettings().budget_min),
        ("breaker.calls", BreakerSettings().calls),
        ("breaker.failure_rate", BreakerSettings().failure_rate),
        ("breaker.window", BreakerSettings().window),
        ("breaker.open_for", BreakerSettings().open_for),
        ("breaker.probes", BreakerSettings().probes),
        ("limits.answer", Limits().answer),
        ("limits.tools", Limits().tools),
        ("limits.pages", Limits().pages),
        ("limits.depth", Limits().depth),
        ("limits.queue", Limits().queue),
        ("concurrency", Limits().concurrency),
    ],
)
def test_the_page_gives_the_defaults_that_hold(key: str, value: float):
    shown = ROWS[key].strip("`")
    read = float(shown) if re.fullmatch(r"[\d.]+", shown) else size(shown) if "iB" in shown else duration(shown)
    assert read == value


def test_the_example_on_the_page_loads(tmp_path: Path):
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    (tmp_path / "motet.toml").write_text(example)
    (tmp_path / ".mcp.json").write_text('{"mcpServers": {"jira": {"command": "x", "env": {"A": "b"}}}}')
    config = load_config(tmp_path / "motet.toml", env={"JIRA_PERSONAL_TOKEN": "secret"})
    assert config.servers["jira"].policy.approve == ("transition_issue",)
