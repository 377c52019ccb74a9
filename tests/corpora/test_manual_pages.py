import gzip
import json

import pytest

from corpora.manual_pages import PACKAGES, build_manual_pages
from tamis.errors import InputError
from tests.corpora.packaged import write_deb

TEXTS = {
    "": "Shows what lies in a folder, sorted by name unless another order is asked for. Hidden files are left out, "
    "and so is whatever the reader may not see. Without a name the working folder is meant.",
    "de": "Zeigt den Inhalt eines Ordners, nach Namen sortiert, falls keine andere Reihenfolge verlangt wird. "
    "Verborgene Dateien werden ausgelassen, ebenso alles, was der Leser nicht sehen darf.",
    "ru": "Показывает содержимое каталога, упорядоченное по именам, если не запрошен другой порядок. Скрытые файлы "
    "пропускаются, как и всё, что читателю видеть нельзя. Без имени берётся текущий каталог.",
}
SUMMARIES = {"": "list what a folder holds", "de": "den Inhalt eines Ordners zeigen", "ru": "показать содержимое"}


def page(summary, *paragraphs, names="ls", more=""):
    body = "\n.PP\n".join(paragraphs)
    return f".TH LS 1\n.SH NAME\n{names} \\- {summary}\n.SH DESCRIPTION\n{body}\n{more}"


def man(files):
    """Paths and packed contents for a package, from `folder/name.section` or `name.section` and the page."""
    packed = {}
    for path, text in files.items():
        *folder, name = path.split("/")
        place = "/".join(["usr/share/man", *folder, f"man{name.rsplit('.', 1)[1][0]}", f"{name}.gz"])
        packed[place] = gzip.compress(text.encode(), mtime=0)
    return packed


@pytest.fixture
def build(tmp_path):
    """Builds a folder from the pages of one package; returns texts of documents and of queries, and the counts."""

    def made(files, links=None):
        deb = write_deb(tmp_path / "manpages_1_all.deb", man(files), links=links)
        counts = build_manual_pages([deb], tmp_path / "out")
        return lines(tmp_path / "out" / "corpus.jsonl"), lines(tmp_path / "out" / "queries.jsonl"), counts

    return made


def lines(path):
    return {line["_id"]: line["text"] for line in map(json.loads, path.read_text(encoding="utf-8").splitlines())}


def test_summaries_are_queries_for_the_rest_of_the_page_in_every_language(build, tmp_path):
    pages = {f"{folder}/ls.1".strip("/"): page(SUMMARIES[folder], TEXTS[folder]) for folder in TEXTS}
    documents, queries, counts = build(pages)
    assert documents == {"de/ls.1": TEXTS["de"], "en/ls.1": TEXTS[""], "ru/ls.1": TEXTS["ru"]}
    assert queries == {"q/de/ls.1": SUMMARIES["de"], "q/en/ls.1": SUMMARIES[""], "q/ru/ls.1": SUMMARIES["ru"]}
    assert (counts.languages, counts.same_language_pairs, counts.cross_language_pairs) == (3, 3, 6)
    assert "q/de/ls.1\tru/ls.1\t1" in (tmp_path / "out" / "qrels" / "cross.tsv").read_text().splitlines()
    first = json.loads((tmp_path / "out" / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first["metadata"] == {"lang": "de", "page": "ls.1"}


def test_the_section_of_the_manual_tells_pages_of_one_name_apart(build):
    command = page("do a thing by hand", TEXTS[""])
    call = page("do a thing in a program", TEXTS[""] + " Returns zero.")
    documents, _, counts = build({"ls.1": command, "ls.2": call, "de/ls.2": page(SUMMARIES["de"], TEXTS["de"])})
    assert list(documents) == ["de/ls.2", "en/ls.1", "en/ls.2"]
    assert counts.cross_language_pairs == 2


def test_names_summaries_and_sections_about_the_page_are_in_no_document(build):
    more = ".SH AUTHOR\nWritten by A. Writer.\n.SH SEE ALSO\n.BR dir (1)\n"
    opening = "ls, dir \\- list what a folder holds"
    documents, queries, _ = build(
        {"ls.1": page(SUMMARIES[""], opening, SUMMARIES[""], TEXTS[""], names="ls, dir", more=more)}
    )
    assert list(documents.values()) == [TEXTS[""]]
    assert list(queries.values()) == [SUMMARIES[""]]


def test_what_many_pages_of_a_language_say_is_in_no_document(build):
    common = "This page is part of the great collection of pages."
    pages = {f"tool{i}.1": page(f"the tool of number {'x' * (i + 1)}", TEXTS[""] + "y" * i, common) for i in range(9)}
    rare = page("einer von wenigen", TEXTS["de"], common)
    documents, _, _ = build({**pages, "de/tool1.1": rare})
    assert [key for key, text in documents.items() if common in text] == ["de/tool1.1"]


def test_aliases_of_a_page_are_no_pages(build):
    pages = {"ls.1": page(SUMMARIES[""], TEXTS[""]), "vdir.1": ".so man1/ls.1\n"}
    documents, _, _ = build(pages, links={"usr/share/man/man1/dir.1.gz": "ls.1.gz"})
    assert list(documents) == ["en/ls.1"]


@pytest.mark.parametrize(("pages", "queries"), [(5, 1), (6, 0)])
def test_a_summary_of_many_pages_is_no_query(build, pages, queries):
    files = {f"call{i}.2": page("a call that does not exist", f"{TEXTS['']} {'z' * (i + 1)}") for i in range(pages)}
    documents, asked, counts = build(files)
    assert (len(documents), len(asked), counts.same_language_pairs) == (pages, queries, pages * queries)


def test_pages_and_summaries_that_were_left_in_english_are_told_apart(build):
    files = {
        "ls.1": page(SUMMARIES[""], TEXTS[""]),
        "de/ls.1": page(SUMMARIES[""], TEXTS["de"]),
        "ru/ls.1": page("list files", TEXTS["ru"]),
        "uk/ls.1": page("показати вміст теки", TEXTS[""]),
    }
    documents, queries, _ = build(files)
    assert list(documents) == ["de/ls.1", "en/ls.1", "ru/ls.1"]
    assert list(queries) == ["q/en/ls.1"]


@pytest.mark.parametrize(
    "opening",
    ["ls", f"{'name, ' * 50}ls \\- list what a folder holds", ""],
)
def test_a_page_without_a_summary_is_left_out(build, opening):
    files = {"ls.1": page(SUMMARIES[""], TEXTS[""]), "odd.1": f".SH NAME\n{opening}\n.SH DESCRIPTION\n{TEXTS['']}"}
    assert list(build(files)[0]) == ["en/ls.1"]


@pytest.mark.parametrize("summary", ["x" * 301, "run it as DOMAIN\\eUSER", "list it"])
def test_a_page_with_an_odd_summary_is_a_document_without_a_query(build, summary):
    documents, queries, _ = build({"ls.1": page(summary, TEXTS[""])})
    assert (list(documents), queries) == (["en/ls.1"], {})


@pytest.mark.parametrize("dash", ["\\-", "-", "\\(em", "–", "--"])
def test_any_dash_parts_names_from_the_summary(build, dash):
    _, queries, _ = build({"ls.1": page(SUMMARIES[""], TEXTS[""]).replace("\\-", dash)})
    assert list(queries.values()) == [SUMMARIES[""]]


def test_a_page_of_headings_alone_is_left_out(build):
    files = {"ls.1": page(SUMMARIES[""], TEXTS[""]), "bare.1": ".SH NAME\n.SH DESCRIPTION\n"}
    assert list(build(files)[0]) == ["en/ls.1"]


def test_long_pages_are_cut_and_short_ones_left_out(build):
    files = {
        "long.1": page("say a lot about it", *[TEXTS[""] + "w" * i for i in range(30)]),
        "short.1": page("say little", "Hi."),
    }
    documents, _, _ = build(files)
    assert list(documents) == ["en/long.1"]
    assert 1500 < len(documents["en/long.1"]) <= 2000


def test_only_chosen_folders_are_read_and_name_their_country(build):
    text = "列出文件夹的内容，除非另有要求，否则按名称排序。隐藏的文件不会显示，读者无权查看的内容也不会显示。" * 4
    portuguese = "Mostra o conteúdo de uma pasta, ordenado pelo nome, exceto quando outra ordem for pedida. " * 3
    files = {f"{folder}/ls.1": page("列出文件夹的内容", text) for folder in ("zh_CN", "zh_TW", "de.UTF-8")}
    documents, _, _ = build({**files, "pt_BR/ls.1": page("mostrar o conteúdo de uma pasta", portuguese)})
    assert list(documents) == ["pt-br/ls.1", "zh-cn/ls.1"]


def test_of_two_pages_with_one_key_the_longer_one_is_taken(tmp_path):
    shorter, longer = page(SUMMARIES[""], TEXTS[""]), page(SUMMARIES[""], TEXTS[""], "And more.")
    for turn, (first, second) in enumerate([(shorter, longer), (longer, shorter)]):
        debs = [
            write_deb(tmp_path / "manpages_1_all.deb", man({"ls.1": first})),
            write_deb(tmp_path / "coreutils_1_amd64.deb", man({"ls.1": second})),
        ]
        build_manual_pages(debs, tmp_path / f"{turn}")
        assert lines(tmp_path / f"{turn}" / "corpus.jsonl")["en/ls.1"].endswith("And more.")


@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(b"cut off", mtime=0)[:-9], gzip.compress(b"x", mtime=0)[:10] + b"\xff" * 20]
)
def test_a_broken_file_is_passed_over(content, tmp_path):
    files = man({"ls.1": page(SUMMARIES[""], TEXTS[""])}) | {"usr/share/man/man1/broken.1.gz": content}
    deb = write_deb(tmp_path / "manpages_1_all.deb", files)
    assert build_manual_pages([deb], tmp_path / "out").documents == 1


def test_packages_and_licences_are_named(build, tmp_path):
    build({"ls.1": page(SUMMARIES[""], TEXTS[""])})
    source = (tmp_path / "out" / "SOURCE.txt").read_text(encoding="utf-8")
    assert source.startswith("manpages\nDebian packages: manpages 1\nLicences: each page has its own")


def test_a_second_run_gives_the_same_bytes(tmp_path):
    pages = {f"{folder}/ls.1".strip("/"): page(SUMMARIES[folder], TEXTS[folder]) for folder in TEXTS}
    one = write_deb(tmp_path / "manpages_1_all.deb", man(pages))
    two = write_deb(tmp_path / "coreutils_1_amd64.deb", man({"cat.1": page("print a file", TEXTS[""] + " Prints it.")}))
    build_manual_pages([one, two], tmp_path / "one")
    build_manual_pages([two, one], tmp_path / "two")
    files = [path for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(files) == 5
    for file in files:
        assert file.read_bytes() == (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes()


def test_other_packages_are_refused(tmp_path):
    deb = write_deb(tmp_path / "hello_1_all.deb", man({"hello.1": page("greet the world", TEXTS[""])}))
    with pytest.raises(
        InputError, match="no manual page in the 1 files given; expected Debian packages such as manpages"
    ):
        build_manual_pages([deb], tmp_path / "out")


def test_no_package_is_named_twice():
    assert len(set(PACKAGES)) == len(PACKAGES)
