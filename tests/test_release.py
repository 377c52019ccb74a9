"""What is published: the same bytes from the same files, all files in it, and one version everywhere."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

import tamis
from deploy import release

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as git knows it, with a few bytes in place of the weights of tamis-base: packing those takes long."""
    folder = tmp_path_factory.mktemp("sources") / "tamis"
    release.copy_tracked(ROOT, folder)
    (folder / "src/tamis/shipped/tamis-base/layers.safetensors").write_bytes(b"weights")
    return folder


def build(sources: Path, out: Path) -> dict[str, bytes]:
    """Build with the backend that pyproject.toml names, in a process of its own."""
    pytest.importorskip("hatchling", reason="the package's build backend is not installed")
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    subprocess.run(command, cwd=sources, env=environment, check=True, capture_output=True)
    return {file.name: file.read_bytes() for file in out.iterdir()}


@pytest.fixture(scope="module")
def built(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """The folder of the built package, and its files."""
    out = tmp_path_factory.mktemp("built")
    return out, build(sources, out)


def test_the_same_files_are_the_same_package_whatever_their_times_and_modes(
    sources: Path, built: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    copy = tmp_path / "other"
    shutil.copytree(sources, copy)
    for path in copy.rglob("*"):
        os.utime(path, (1, 2_000_000_000))
        path.chmod(0o700 if path.is_dir() else 0o600)
    one, other = built[1], build(copy, tmp_path / "two")
    assert one == other
    assert len(one) == 2
    assert all(name.startswith(f"tamis-{tamis.__version__}") for name in one)


def test_wheel_and_source_hold_every_file_of_the_package(sources: Path, built: tuple[Path, dict[str, bytes]]) -> None:
    out, _ = built
    package = {str(path.relative_to(sources / "src")) for path in (sources / "src/tamis").rglob("*") if path.is_file()}
    with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel:
        assert {name for name in wheel.namelist() if name.startswith("tamis/")} == package
    with tarfile.open(next(out.glob("*.tar.gz"))) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    assert {f"src/{name}" for name in package} | {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml"} <= names


def test_a_build_that_differs_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = iter([{"tamis-1.whl": "a", "tamis-1.tar.gz": "c"}, {"tamis-1.whl": "b", "tamis-1.tar.gz": "c"}])
    monkeypatch.setattr(release, "_build", lambda *_, **__: next(sums))
    with pytest.raises(SystemExit, match=r"^tamis-1\.whl: two builds of the same files differ"):
        release.build_twice(tmp_path)


def test_the_first_lines_of_the_readme_print_what_stands_below_them() -> None:
    code, expected = release.first_lines((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len([line for line in code.splitlines() if line]) <= 6
    assert re.fullmatch(r"(\d\.\d{3}  .+\n)+", expected)


def test_chart_and_image_have_the_version_of_the_package() -> None:
    chart = yaml.safe_load((ROOT / "deploy/helm/tamis/Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == chart["appVersion"] == tamis.__version__
    kubernetes = (ROOT / "deploy/kubernetes.yaml").read_text(encoding="utf-8")
    assert re.findall(r"image: tamis:(\S+)", kubernetes) == [tamis.__version__]
    for path in [*(ROOT / "deploy").glob("*"), ROOT / "docs/deploying.md"]:
        if path.is_file():
            named = re.findall(r"\btamis:(\d+\.\d+\.\d+)", path.read_text(encoding="utf-8"))
            assert set(named) <= {tamis.__version__}, path


def test_the_change_log_has_its_versions_in_order_and_none_above_this_one() -> None:
    log = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    parts = re.findall(r"^## \[([^\]]+)\]", log, re.MULTILINE)
    assert parts[0] == "Unreleased"
    versions = [Version(part) for part in parts[1:]]
    assert versions == sorted(versions, reverse=True)
    assert all(version <= Version(tamis.__version__) for version in versions)
