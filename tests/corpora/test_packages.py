from pathlib import Path

import pytest

from corpora.packages import deb_files, download, package_version
from tamis.errors import InputError, MissingPartError, RunError
from tests.corpora.packaged import ar, write_deb, write_program

APT = """
import sys
from pathlib import Path
log = Path({log!r})
with log.open("a") as stream:
    print(*sys.argv[1:], file=stream)
updated = "update" in log.read_text()
if sys.argv[1] == "download":
    for name in sys.argv[2:]:
        Path(f"{{name}}_1.0_all.deb").write_bytes(b"half or whole")
    if not (updated or {known!r}):
        sys.exit("W: a warning\\nE: Unable to locate package " + sys.argv[2])
    if {broken!r}:
        sys.exit("E: Failed to fetch it")
"""


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """Puts a made-up apt-get on an otherwise empty PATH; returns the file that lists its calls."""
    log = tmp_path / "calls"

    def install(known=True, broken=False):
        write_program(tmp_path / "bin", "apt-get", APT.format(log=str(log), known=known, broken=broken))
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        return log

    return install


@pytest.mark.parametrize("packing", ["xz", "gz"])
def test_files_with_the_suffix_come_out_of_a_deb_in_its_order(tmp_path, packing):
    files = {"usr/b.html": "zwei", "usr/a.html": "één", "usr/a.txt": "no"}
    deb = write_deb(tmp_path / "a_1_all.deb", files, packing)
    assert list(deb_files(deb, ".html")) == [("./usr/b.html", b"zwei"), ("./usr/a.html", "één".encode())]


def test_links_are_passed_over(tmp_path):
    links = {"usr/alias.html": "b.html", "usr/broken.html": "/nowhere.html"}
    deb = write_deb(tmp_path / "a_1_all.deb", {"usr/b.html": "zwei"}, links=links)
    assert list(deb_files(deb, ".html")) == [("./usr/b.html", b"zwei")]


def test_a_zstd_deb_is_read_with_dpkg_deb(tmp_path, monkeypatch):
    plain = write_deb(tmp_path / "plain.deb", {"a.html": "text"}, "gz").read_bytes()
    (tmp_path / "data.tar.gz").write_bytes(plain[plain.index(b"\x1f\x8b") :])
    deb = tmp_path / "zstd.deb"
    deb.write_bytes(ar({"debian-binary": b"2.0\n", "data.tar.zst": b"packed"}))
    body = f"import sys\nsys.stdout.buffer.write(open({str(tmp_path / 'data.tar.gz')!r}, 'rb').read())"
    write_program(tmp_path / "bin", "dpkg-deb", body)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert list(deb_files(deb, ".html")) == [("./a.html", b"text")]


def test_a_zstd_deb_without_dpkg_deb_says_what_is_missing(tmp_path, monkeypatch):
    deb = tmp_path / "zstd.deb"
    deb.write_bytes(ar({"data.tar.zst": b"packed"}))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingPartError, match=r"zstd\.deb: packed with zstd, which needs dpkg-deb; install dpkg"):
        list(deb_files(deb, ".html"))


@pytest.mark.parametrize("end", [0, 4, 30, 130, -8, -200])
def test_a_deb_that_is_cut_off_is_refused(tmp_path, end):
    deb = write_deb(tmp_path / "a_1_all.deb", {"a.html": "text" * 999})
    deb.write_bytes(deb.read_bytes()[:end])
    with pytest.raises(InputError, match=r"a_1_all\.deb: not a whole Debian package .*; delete the file"):
        list(deb_files(deb, ".html"))


def test_a_deb_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a whole Debian package"):
        list(deb_files(tmp_path / "a.deb", ".html"))


def test_an_archive_with_other_content_is_refused(tmp_path):
    deb = tmp_path / "a.deb"
    deb.write_bytes(ar({"data.tar.xz": b"not packed at all"}))
    with pytest.raises(InputError, match="not a whole Debian package"):
        list(deb_files(deb, ".html"))


def test_the_version_is_read_from_the_file_name():
    assert package_version(Path("x/debian-faq-zh-cn_1%3a11.1_all.deb")) == "debian-faq-zh-cn 1:11.1"
    assert package_version(Path("faq.deb")) == "faq.deb"


def test_only_missing_packages_are_downloaded(tmp_path, apt):
    log = apt()
    kept = tmp_path / "packages" / "a_0.9_all.deb"
    kept.parent.mkdir()
    kept.write_bytes(b"kept")
    debs = download(["a", "b"], kept.parent)
    assert [deb.name for deb in debs] == ["a_0.9_all.deb", "b_1.0_all.deb"]
    assert download(["a", "b"], kept.parent) == debs
    assert log.read_text() == "download b\n"
    assert kept.read_bytes() == b"kept"


def test_a_package_whose_name_begins_alike_is_not_taken_for_another(tmp_path, apt):
    apt()
    (tmp_path / "a-de_1_all.deb").touch()
    assert download(["a"], tmp_path) == [tmp_path / "a_1.0_all.deb"]


def test_an_unknown_package_is_tried_again_after_one_update(tmp_path, apt):
    log = apt(known=False)
    assert len(download(["a", "b"], tmp_path / "packages")) == 2
    assert log.read_text() == "download a b\nupdate\ndownload a b\n"


def test_a_failed_download_leaves_no_half_package(tmp_path, apt):
    log = apt(broken=True)
    message = (
        r"^apt-get did not get a \(Failed to fetch it\): run `apt-get update` as root and try again, or set `corpus"
    )
    with pytest.raises(MissingPartError, match=message):
        download(["a"], tmp_path / "packages")
    assert list((tmp_path / "packages").iterdir()) == []
    assert log.read_text().count("update") == 1


def test_a_machine_without_apt_get_gets_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingPartError) as caught:
        download(["debian-faq"], tmp_path)
    assert str(caught.value) == (
        "apt-get was not found, so debian-faq cannot be fetched here: set `corpus.target` in the recipe to a corpus "
        "of your own instead (a BEIR folder, a JSONL file or a folder of .txt files)"
    )


def test_packages_that_are_there_need_no_apt_get(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    deb = write_deb(tmp_path / "a_1_all.deb", {})
    assert download(["a"], tmp_path) == [deb]


def test_a_folder_that_cannot_be_made_is_named(tmp_path, apt):
    apt()
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file/packages: cannot be written \(.*Not a directory"):
        download(["some-package"], tmp_path / "file" / "packages")
