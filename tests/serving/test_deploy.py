"""The files in deploy/ start the command as it is; containers themselves are not run here."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from tamis.cli import app

DEPLOY = Path(__file__).parents[2] / "deploy"


def commands() -> dict[str, list[str]]:
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    entry, arguments = (
        json.loads(re.findall(rf"^{name} (.*)$", dockerfile, re.M)[0]) for name in ("ENTRYPOINT", "CMD")
    )
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]["tamis"]["command"]
    unit = re.findall(r"^ExecStart=(.*)$", (DEPLOY / "tamis.service").read_text(encoding="utf-8"), re.M)[0]
    return {"docker": [*entry, *arguments], "compose": [*entry, *compose], "systemd": shlex.split(unit)}


@pytest.mark.parametrize("where", ["docker", "compose", "systemd"])
def test_the_command_is_understood(where: str):
    program, command, *arguments = commands()[where]
    assert Path(program).name == "tamis"
    parsed = get_command(app).commands[command].make_context(command, arguments)
    assert parsed.params["models"][0].startswith("model=/")
    assert parsed.params["port"] == 8000


def test_files_that_are_mounted_lie_beside():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    mounted = [volume.split(":")[0] for service in compose["services"].values() for volume in service["volumes"]]
    assert mounted == ["./model", "./prometheus.yaml"]
    prometheus = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"][0]
    assert prometheus["static_configs"][0]["targets"] == ["tamis:8000"]
    secret = Path(prometheus["authorization"]["credentials_file"]).name
    assert secret in compose["services"]["prometheus"]["secrets"]
