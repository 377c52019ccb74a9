"""Settings of a server from the command line, the environment and a file."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tamis.errors import SettingsError
from tamis.serving.settings import Settings, Sources
from tests.commands import tamis


def read(typed: dict[str, Any], environment: dict[str, str], content: Any, folder: Path):
    file = folder / "serve.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return Sources(typed, environment, file).read()


def test_the_command_line_beats_the_environment_and_that_the_file_and_each_defeat_is_told_once(tmp_path: Path):
    told = read(
        {"port": 1},
        {"TAMIS_PORT": "2", "TAMIS_QUEUE": "2000"},
        {"port": 3, "queue": 3000, "deadline": 7, "long": "windows"},
        tmp_path,
    )
    found = told.settings
    assert (found.port, found.queue, found.deadline, found.long) == (1, 2000, 7.0, "windows")
    file = tmp_path / "serve.yaml"
    assert told.origins == {"port": "--port", "queue": "TAMIS_QUEUE", "deadline": str(file), "long": str(file)}
    assert told.notes == [
        f"port: {file} says 3, TAMIS_PORT 2; TAMIS_PORT counts",
        f"queue: {file} says 3000, TAMIS_QUEUE 2000; TAMIS_QUEUE counts",
        "port: TAMIS_PORT says 2, --port 1; --port counts",
    ]


def test_who_says_the_same_does_not_disagree(tmp_path: Path):
    told = read(
        {"models": ["a=/m", "b=/n"], "cors": ["https://a.example"]},
        {"TAMIS_MODELS": "a=/m, b=/n", "TAMIS_DEADLINE": "60", "TAMIS_KEYS": "", "TAMIS_INDEX": ","},
        {"models": {"a": "/m", "b": "/n"}, "cors": ["https://a.example"], "deadline": 60},
        tmp_path,
    )
    assert told.notes == []
    assert told.settings.models == {"a": "/m", "b": "/n"}
    assert told.settings.keys is None  # an empty variable is none


def test_every_setting_can_be_told_by_each_of_the_three(tmp_path: Path):
    """What is printed is a file that says the same; every option of the command is a setting, and none is missing."""
    values: dict[str, Any] = {
        "models": ["a=org/m", "b=org/n"],
        "split": ["s=a:9,b:1"],
        "split_by": "header:x-user",
        "host": "0.0.0.0",
        "port": "81",
        "metrics_port": "82",
        "precision": "auto",
        "scoring_engine": "onnx",
        "keys": "k",
        "admin_keys": "l",
        "cors": ["https://a.example", "null"],
        "on": "corpus",
        "queue": "5000",
        "documents": "50",
        "characters": "500",
        "body": "5000",
        "deadline": "5.5",
        "first_stage": "order",
        "long": "windows",
        "min_score": "0.4",
        "index": ["i", "j"],
        "probe": "p.jsonl",
        "log_queries": "logs",
        "log_redact": [r"\d{5,}", "[a-z]+@[a-z]+"],
        "log_days": "7",
    }
    assert values.keys() == Settings.model_fields.keys()
    joined = {"split": ";", "log_redact": "\n"}
    variables = {
        f"TAMIS_{name.upper()}": joined.get(name, ",").join(value) if isinstance(value, list) else value
        for name, value in values.items()
    }
    by_variables = Sources({}, variables).read()
    by_options = Sources(values, {}).read()
    assert by_variables.settings == by_options.settings
    assert by_options.settings.split == {"s": {"a": 9.0, "b": 1.0}}
    assert by_options.settings.min_score == 0.4
    by_file = read({}, {}, by_options.as_yaml(), tmp_path)
    assert by_file.settings == by_options.settings
    words = [
        word
        for name, value in values.items()
        for one in (value if isinstance(value, list) else [value])
        for word in ([one] if name == "models" else [f"--{name.replace('_', '-')}", one])
    ]
    printed = tamis("serve", *words, "--print-config")
    assert printed.status == 0, printed.err
    assert yaml.safe_load(printed.out) == yaml.safe_load(by_options.as_yaml())


@pytest.mark.parametrize(
    ("typed", "environment", "content", "complaint"),
    [
        ({}, {}, {"prot": 1}, "FILE: unknown key 'prot'; did you mean 'port'?"),
        ({}, {}, {"port": 70000}, "FILE: port: expected a number of at most 65535, got 70000"),
        ({}, {}, {"queue": True}, "FILE: queue: expected a number, got true"),
        ({}, {}, {"min_score": "high"}, "FILE: min_score: expected a number or 'model', got 'high'"),
        ({}, {}, [1], "FILE: expected settings of tamis serve, NAME: VALUE, got [1]"),
        ({}, {}, "a: [", "FILE: not YAML: "),
        ({}, {}, "host: !!bool maybe", "FILE: not YAML: 'maybe'"),
        ({}, {}, "deadline: 1" + ":1" * 400 + ".5", "FILE: not YAML: int too large to convert to float"),
        ({}, {}, "port: 1\nqueue: 5000\nport: 2", "FILE: not YAML: the key 'port' comes twice, in lines 1 and 3"),
        ({}, {}, "models: {m: a, m: b}", "FILE: not YAML: the key 'm' comes twice, in lines 1 and 1; keep one"),
        ({}, {}, {"models": [{"m": "a"}]}, "FILE: models: got {'m': 'a'}, expected FOLDER or NAME=FOLDER"),
        ({}, {}, {"split": {"": {"m": 1}}}, "FILE: split: a split without a name; clients ask for it by one"),
        ({"log_redact": ["(" * 9000]}, {}, {}, f"--log-redact: '{'(' * 78}… is no regular expression: "),
        ({}, {}, {"models": {"m": ""}}, "FILE: models: got {'m': ''}, expected NAME: FOLDER, neither of them empty"),
        ({}, {"TAMIS_PORT": "http"}, {}, "TAMIS_PORT: expected a whole number, got 'http'"),
        ({"precision": "int8"}, {}, {}, "--precision: expected 'float32', 'bfloat16' or 'auto', got 'int8'"),
        ({"log_redact": ["a", "("]}, {}, {}, "--log-redact: '(' is no regular expression: "),
        ({"log_redact": ["a{99999999999}"]}, {}, {}, "--log-redact: 'a{99999999999}' is no regular expression: "),
        ({"log_redact": [r"\d*"]}, {}, {}, r"--log-redact: '\\d*' matches where nothing stands; expected "),
        ({"split": ["s=a:1", "s=b:1"]}, {}, {}, "--split: 's' comes twice; leave one out"),
        ({"split": ["s=a:1,a:2"]}, {}, {}, "--split: 'a' comes twice; leave one out"),
        ({"split": ["s=a:1e308,b:1e308"]}, {}, {}, "--split: s has the weights {'a': 1e+308, 'b': 1e+308}, expected"),
        ({"split": ["s=a"]}, {}, {}, "--split: got 's=a', expected NAME=MODEL:WEIGHT,MODEL:WEIGHT"),
        ({"split": ["s=a:0"]}, {}, {}, "--split: s has the weights {'a': 0.0}, expected some above 0 and none below"),
        ({"split": ["s=a:x"]}, {}, {}, "--split: split.s.a: expected a number, got 'x'"),
        ({"split": ["s=a:1"]}, {}, {"models": {"b": "m"}}, "--split: s has a weight for 'a', which is no model; "),
        ({"split": ["b=b:1"]}, {}, {"models": {"b": "/m"}}, "--split: 'b' is a model; give the split another name, or"),
        ({"split_by": "user"}, {}, {}, "--split-by: expected chance, query or header:NAME, got 'user'"),
        ({}, {"TAMIS_MODELS": "m=a,m=b"}, {}, "'m' names two models; give one of them another name, as NAME=FOLDER"),
        ({}, {}, {"queue": 9}, "FILE: queue is 9, expected at least the 1000 documents that one request may hold"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_told_in_one_line_that_names_its_place(
    typed: dict[str, Any], environment: dict[str, str], content: Any, complaint: str, tmp_path: Path
):
    with pytest.raises(SettingsError) as told:
        read(typed, environment, content, tmp_path)
    line = str(told.value).replace(str(tmp_path / "serve.yaml"), "FILE")
    assert line.startswith(complaint)
    assert "\n" not in line


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    outcome = tamis("serve", "--config", tmp_path / "none.yaml")
    assert (outcome.status, outcome.complaint) == (
        2,
        f"--config {tmp_path / 'none.yaml'}: cannot be read: [Errno 2] No such file or directory: "
        f"'{tmp_path / 'none.yaml'}'",
    )


def test_no_model_at_all_is_told():
    outcome = tamis("serve")
    assert outcome.status == 2
    assert outcome.complaint == "no model is named; name one behind the command, in TAMIS_MODELS or in --config FILE"


def test_a_misspelt_variable_is_told_and_those_that_kubernetes_sets_for_a_service_called_tamis_are_not():
    of_services = {
        "TAMIS_PORT": "tcp://10.0.0.7:8000",
        "TAMIS_SERVICE_HOST": "10.0.0.7",
        "TAMIS_SERVICE_PORT": "8000",
        "TAMIS_SERVICE_PORT_HTTP": "8000",
        "TAMIS_PORT_8000_TCP": "tcp://10.0.0.7:8000",
        "TAMIS_PORT_8000_TCP_ADDR": "10.0.0.7",
        "TAMIS_METRICS_PORT": "tcp://10.0.0.8:9000",
        "TAMIS_METRICS_SERVICE_HOST": "10.0.0.8",
    }
    told = Sources({}, {**of_services, "TAMIS_API_KEYS": "a", "TAMIS_QUEU": "9", "OTHER": "1"}).read()
    assert told.notes == ["TAMIS_QUEU: no such setting, nothing is done with it; did you mean TAMIS_QUEUE?"]
    assert told.settings == Settings()
