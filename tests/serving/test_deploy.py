"""The files in deploy/: commands that are understood, valid manifests, alerts and panels of metrics that exist."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest
import yaml
from typer.main import get_command

import tamis
from tamis.cli import app
from tamis.serving.engine import Batch
from tamis.serving.metrics import Metrics
from tests.serving.running import served

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "tamis"
USER = 10001
KUBERNETES = "1.31"
"""Whose schemas the manifests are checked with."""

GO_PATH = Path("/usr/share/gocode")
"""Where Debian keeps Go's libraries: golang-github-masterminds-sprig-dev and golang-gopkg-yaml.v3-dev."""


def manifests(text: str) -> dict[str, dict[str, Any]]:
    """Kubernetes objects by kind."""
    found = [one for one in yaml.safe_load_all(text) if one]
    by_kind = {one["kind"]: one for one in found}
    assert len(by_kind) == len(found)
    return by_kind


Render = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Renders the chart with changed values, as Go's templates make it."""
    if not shutil.which("go") or not (GO_PATH / "src/github.com/Masterminds/sprig").is_dir():
        pytest.skip("Go and sprig are not installed, which render the chart")
    folder = tmp_path_factory.mktemp("render")
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GO_PATH), "GOCACHE": str(folder / "cache")}
    command = ["go", "build", "-o", str(folder / "render"), str(DEPLOY / "check" / "render.go")]
    subprocess.run(command, env=environment, check=True)

    def render(**changes: Any) -> dict[str, dict[str, Any]]:
        values = folder / "values.yaml"
        values.write_text(yaml.safe_dump(changes), encoding="utf-8")
        done = subprocess.run([folder / "render", CHART, "mine", values], capture_output=True, text=True, check=True)
        return manifests(done.stdout)

    return render


def container_of(deployment: dict[str, Any]) -> dict[str, Any]:
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    return only


def commands() -> dict[str, list[str]]:
    """What each file starts, in words."""
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    entry, arguments = (
        json.loads(re.findall(rf"^{name} (.*)$", dockerfile, re.M)[0]) for name in ("ENTRYPOINT", "CMD")
    )
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]["tamis"]["command"]
    unit = re.findall(r"^ExecStart=(.*)$", (DEPLOY / "tamis.service").read_text(encoding="utf-8"), re.M)[0]
    pods = container_of(manifests((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))["Deployment"])["args"]
    return {
        "docker": [*entry, *arguments],
        "compose": [*entry, *compose],
        "systemd": shlex.split(unit),
        "kubernetes": [*entry, *pods],
    }


@pytest.mark.parametrize("where", ["docker", "compose", "systemd", "kubernetes"])
def test_the_command_is_understood(where: str):
    program, command, *arguments = commands()[where]
    assert Path(program).name == "tamis"
    parsed = get_command(app).commands[command].make_context(command, arguments)
    assert parsed.params["models"][0].startswith("model=/")
    assert parsed.params["port"] in (8000, None)


def test_files_that_are_mounted_lie_beside():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    mounted = [volume.split(":")[0] for service in compose["services"].values() for volume in service["volumes"]]
    assert mounted == ["./model", "./prometheus.yaml", "./alerts.yaml"]
    prometheus = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text(encoding="utf-8"))
    (scraped,) = prometheus["scrape_configs"]
    command = compose["services"]["tamis"]["command"]
    assert scraped["static_configs"][0]["targets"] == [f"tamis:{command[command.index('--metrics-port') + 1]}"]
    assert prometheus["rule_files"] == ["alerts.yaml"]


def test_the_image_gets_what_the_package_is_built_from():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.M)
    assert {name for line in copied for name in line.split()} == sent
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {project["readme"], *project["license-files"], "pyproject.toml", "src"} == sent


def test_the_unit_is_valid(tmp_path: Path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed")
    unit = (DEPLOY / "tamis.service").read_text(encoding="utf-8")
    (tmp_path / "tamis.service").write_text(unit.replace("/opt/tamis/bin/tamis", "/bin/true"), encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", tmp_path / "tamis.service"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_manifests_are_what_kubernetes_takes():
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for manifest in manifests((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")).values():
        validate.validate(manifest, KUBERNETES, strict=True)


def test_what_the_chart_makes_is_what_kubernetes_takes(rendered: Render):
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for manifest in rendered().values():
        validate.validate(manifest, KUBERNETES, strict=True)


def test_a_pod_may_do_little_and_is_asked_how_it_is():
    deployment = manifests((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))["Deployment"]
    pod, container = deployment["spec"]["template"]["spec"], container_of(deployment)
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == USER
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    asked = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}
    assert asked == {"startupProbe": "/readyz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    writable = {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}


def test_the_image_is_of_the_user_that_the_pods_name():
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.M) == [(str(USER), str(USER))]
    assert f"--uid {USER} " in dockerfile


def test_the_chart_gives_the_manifests(rendered: Render):
    """With its defaults, but for the release's name and labels, and the autoscaler that sets the replicas."""
    given = manifests((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
    made = rendered()
    assert made.keys() == given.keys()
    spec, expected = made["Deployment"]["spec"], given["Deployment"]["spec"]
    assert "replicas" not in spec
    pod, expected_pod = spec["template"]["spec"], expected["template"]["spec"]
    assert pod.pop("serviceAccountName") == "mine"
    expected_pod.pop("serviceAccountName")
    (container,), (other,) = pod["containers"], expected_pod["containers"]
    assert container.pop("imagePullPolicy") == "IfNotPresent"
    assert [word for one in container.pop("args") for word in one.split("=--")] == [
        "model=/model", "--host=0.0.0.0", "--port=8000", "--metrics-port=9000", "--keys=/etc/tamis/keys",
    ]  # fmt: skip
    other.pop("args")
    assert pod == expected_pod
    labels = spec["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/version"] == tamis.__version__
    for one in (spec["selector"]["matchLabels"], made["Service"]["spec"]["selector"]):
        assert one.items() <= labels.items()


def test_the_chart_without_keys_claim_and_autoscaler(rendered: Render):
    made = rendered(
        keysSecret="", modelClaim="", autoscaling={"enabled": False}, networkPolicy=False, replicas=1,
        models=["tamis-base"], cores=2, arguments=["--first-stage", "order"],
    )  # fmt: skip
    assert made.keys() == {"Deployment", "Service", "ServiceAccount"}
    container = container_of(made["Deployment"])
    assert container["args"] == [
        "tamis-base",
        "--host=0.0.0.0",
        "--port=8000",
        "--metrics-port=9000",
        "--first-stage",
        "order",
    ]
    assert container["env"] == [{"name": "OMP_NUM_THREADS", "value": "2"}]
    assert {mount["name"] for mount in container["volumeMounts"]} == {"cache", "tmp"}
    assert made["Deployment"]["spec"]["replicas"] == 1


@pytest.mark.parametrize(
    ("changes", "fits"),
    [({}, True), ({"replicas": 0}, False), ({"model": "x"}, False), ({"models": []}, False), ({"cores": "2"}, False)],
)
def test_values_of_the_chart_are_checked(changes: dict[str, Any], fits: bool):
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert jsonschema.Draft7Validator(schema).is_valid(values | changes) == fits
    assert values.keys() <= schema["properties"].keys()


def metrics_of_the_server() -> set[str]:
    """Names of the series of a server that has answered, whose models were changed."""
    metrics = Metrics()
    metrics.watch("m", "abc", lambda: 0)
    metrics.changes.labels("swap", "done").inc()
    metrics.split.labels("s", "m").inc()
    metrics.requests.labels("cohere", "m", "200").inc()
    metrics.abandoned.labels("cohere").inc()
    metrics.seconds.labels("cohere").observe(0.1)
    metrics.waited.labels("m").observe(0.1)
    metrics.cut.labels("m").inc()
    metrics.batch("m", Batch(pairs=1, tokens=1, seconds=0.1, failed=0))
    metrics.ranked("m", 20, True, 0.5)
    return set(re.findall(r"^(\w+)[ {]", metrics.text().decode(), re.MULTILINE))


def asked_for(expressions: list[str]) -> set[str]:
    return {name for one in expressions for name in re.findall(r"\b(?:tamis|process)_\w+\b", one)}


def test_alerts_are_about_metrics_that_the_server_has():
    (group,) = yaml.safe_load((DEPLOY / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    asked = asked_for([rule["expr"] for rule in group["rules"]])
    assert asked
    assert asked <= metrics_of_the_server()
    assert all(rule["annotations"].keys() == {"summary", "description"} for rule in group["rules"])


def test_alerts_ring_when_they_should():
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip("promtool is not installed, which plays the alerts")
    for command in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]):
        done = subprocess.run([promtool, *command], cwd=DEPLOY, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_draws_metrics_that_the_server_has_and_all_of_its_own():
    board = json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))
    asked = asked_for([target["expr"] for panel in board["panels"] for target in panel["targets"]])
    found = metrics_of_the_server()
    assert asked <= found
    shown = {re.sub(r"_(bucket|total|sum|count|created)$", "", name) for name in asked}
    own = {re.sub(r"_(bucket|total|sum|count|created)$", "", name) for name in found if name.startswith("tamis_")}
    assert own <= shown
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert "$instance" in panel["targets"][0]["expr"]


def test_probes_are_answered(warm_folder: Path):
    with served({"model": warm_folder}) as server:
        assert [server.get(path).status_code for path in ("/livez", "/readyz")] == [200, 200]


NO_ROOT = """
mount -o remount,bind,ro / && umask "$1" && shift && exec setpriv --reuid=10001 --regid=10001 --clear-groups \
    --inh-caps=-all,+dac_read_search --ambient-caps=+dac_read_search --no-new-privs "$@"
"""
"""A user who may read this checkout and its Python wherever they lie, and write nowhere: the root is read-only."""


@contextmanager
def locked_up(umask: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """`tamis serve` as a user without home, cache or a place to write."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT / "src"),
        "TMPDIR": "/dev/shm",  # dill, which torch imports where it is installed, asks for one
    }
    words = [sys.executable, "-m", "tamis", "serve", *map(str, arguments), "--port", "0"]
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", NO_ROOT, "sh", umask, *words]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd="/") as process:
        try:
            yield process
        finally:
            process.kill()


def address_of(process: subprocess.Popen[str]) -> str:
    """Where a server listens, as its log says."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"http://[\d.]+:\d+", line):
            return found[0]
    raise AssertionError("".join(said))


ONLY_ROOT = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can give up what it may"
)


@pytest.mark.slow
@ONLY_ROOT
@pytest.mark.parametrize("umask", ["077", "022"])
def test_the_server_needs_neither_root_nor_a_place_to_write(umask: str, warm_folder: Path):
    with locked_up(umask, f"model={warm_folder}") as process:
        url = address_of(process)
        body = {"model": "model", "query": "How do I add a user?", "documents": ["Add a user.", "Print."]}
        answer = httpx2.post(f"{url}/v2/rerank", json=body, timeout=30)
        assert answer.status_code == 200
        assert len(answer.json()["results"]) == 2
        assert httpx2.get(f"{url}/readyz", timeout=30).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.slow
@ONLY_ROOT
def test_a_model_that_has_to_be_put_together_says_that_it_needs_a_cache():
    with locked_up("077", "tamis-base") as process:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 2
        assert re.search(r"^tamis: .*cannot be written .*XDG_CACHE_HOME", said.splitlines()[-1])
