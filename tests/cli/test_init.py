from pathlib import Path

import pytest
from click.testing import CliRunner

from motet.cli.commands.init import TEMPLATE
from motet.cli.main import cli
from motet.config.loading import load_config


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOTET_CONFIG", raising=False)
    return tmp_path


def test_init_writes_a_configuration_that_loads(folder: Path):
    result = CliRunner().invoke(cli, ["init"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert list(load_config(folder / "motet.toml").servers) == ["files"]


def test_what_is_commented_out_loads_too(folder: Path):
    lines = TEMPLATE.replace("\n# include", "\n# #include").splitlines()
    whole = "\n".join(
        line.removeprefix("# ") if line.startswith("# ") and ("=" in line or "[" in line) else line for line in lines
    )
    path = folder / "motet.toml"
    path.write_text(whole)
    config = load_config(path, env={"JIRA_PERSONAL_TOKEN": "t", "EXAMPLE_TOKEN": "t"})
    assert list(config.servers) == ["files", "jira", "example"]


def test_init_leaves_a_file_that_is_there_alone(folder: Path):
    (folder / "motet.toml").write_text("mine")
    result = CliRunner().invoke(cli, ["init"])
    assert result.exit_code == 2
    assert "motet.toml is there already; nothing was written" in result.stderr
    assert (folder / "motet.toml").read_text() == "mine"


def test_init_says_when_it_may_not_write(folder: Path):
    result = CliRunner().invoke(cli, ["init", "no/such/folder/motet.toml"])
    assert result.exit_code == 2
    assert "cannot be written: No such file or directory" in result.stderr
