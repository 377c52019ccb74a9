import json
from pathlib import Path

import pytest

from corpora.beir_folder import Counts
from corpora.debian_docs import build_debian_docs
from tamis.errors import InputError
from tests.corpora.packaged import docbook_page, write_deb

KERNEL = "You can use your old kernel as long as it was compiled with the options that the boot loader wants to find."
BUGS = "Send a message to the tracking system and name the package, its version and what you did before it failed."
ENGLISH = [
    ("kernel", "1.1. Can I use my old kernel?", f"<p>Can I use my old kernel?</p><p>{KERNEL}</p>"),
    (
        "bugs",
        "1.2. How do I report a bug?",
        f'<p>{BUGS} See <a class="xref">Section 1.1, “Can I use my old kernel?”</a>.</p>',
    ),
    ("again", "1.3. Can I use my old kernel", f"<p>Again: {KERNEL}</p>"),
    ("short", "1.4. Is this too short?", "<p>Yes, it is.</p>"),
]
GERMAN = [
    (
        "kernel",
        "1.1. Kann ich meinen alten Kernel benutzen?",
        "<p>Der alte Kernel kann weiter benutzt werden, solange er mit den Optionen übersetzt wurde, die der "
        "Bootloader erwartet.</p>",
    ),
    ENGLISH[1],
]
CHINESE = [
    (
        "bugs",
        "1.2. 我如何报告错误？",
        "<p>请把出错的软件包的名称、版本以及出错之前所做的操作一起写进邮件，\n然后发送给错误跟踪系统，维护者会尽快回复您并处理这个问题。</p>",
    ),
    (
        "again",
        "1.3. Feedback",
        "<p>只要旧内核编译时带有引导程序所需要的选项，您就可以继续使用它，不过升级之后请再次检查这些选项是否仍然有效。</p>",
    ),
]


def faq_deb(folder: Path, language: str, sections) -> Path:
    suffix = "" if language == "en" else f"-{language}"
    place = f"usr/share/doc/debian/FAQ/{language}"
    files = {
        f"{place}/basics.{language}.html": docbook_page("Chapter 1. Basics", sections),
        f"{place}/index.{language}.html": docbook_page(
            "The FAQ", [("i", "1. Index of everything", f"<p>{KERNEL}</p>")]
        ),
    }
    return write_deb(folder / f"debian-faq{suffix}_11.1_all.deb", files)


@pytest.fixture
def debs(tmp_path):
    manuals = {"en": ENGLISH, "de": GERMAN, "zh-cn": CHINESE}
    return [faq_deb(tmp_path, language, sections) for language, sections in manuals.items()]


def lines(path: Path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def pairs(path: Path):
    head, *rows = [tuple(line.split("\t")) for line in path.read_text(encoding="utf-8").splitlines()]
    assert head == ("query-id", "corpus-id", "score")
    return [row[:2] for row in rows]


def test_documents_and_queries_are_the_translated_sections_and_their_headings(debs, tmp_path):
    out = tmp_path / "faq"
    counts = build_debian_docs(debs, "faq", out)
    documents = {line["_id"]: line for line in lines(out / "corpus.jsonl")}
    english = ["en/basics.kernel", "en/basics.bugs", "en/basics.again"]
    assert list(documents) == [*english, "de/basics.kernel", "zh-cn/basics.bugs", "zh-cn/basics.again"]
    assert documents["zh-cn/basics.bugs"]["metadata"] == {"lang": "zh-cn", "section": "basics.bugs"}
    assert {line["_id"]: line["text"] for line in lines(out / "queries.jsonl")} == {
        "q/en/basics.kernel": "Can I use my old kernel?",
        "q/en/basics.bugs": "How do I report a bug?",
        "q/de/basics.kernel": "Kann ich meinen alten Kernel benutzen?",
        "q/zh-cn/basics.bugs": "我如何报告错误？",
    }
    assert counts == Counts(documents=6, queries=4, languages=3, same_language_pairs=5, cross_language_pairs=5)


def test_headings_never_leak_into_documents(debs, tmp_path):
    build_debian_docs(debs, "faq", tmp_path / "faq")
    texts = [line["text"] for line in lines(tmp_path / "faq" / "corpus.jsonl")]
    for query in lines(tmp_path / "faq" / "queries.jsonl"):
        assert not [text for text in texts if query["text"].strip("?？") in text]
    assert not [text for text in texts if "Chapter 1" in text or "Contents" in text]


def test_every_judged_pair_names_a_query_and_a_document(debs, tmp_path):
    out = tmp_path / "faq"
    build_debian_docs(debs, "faq", out)
    documents = {line["_id"]: line["metadata"]["lang"] for line in lines(out / "corpus.jsonl")}
    queries = {line["_id"]: line["metadata"]["lang"] for line in lines(out / "queries.jsonl")}
    same, cross = pairs(out / "qrels" / "test.tsv"), pairs(out / "qrels" / "cross.tsv")
    assert {query for query, _ in same} == set(queries)
    assert all(queries[query] == documents[document] for query, document in same)
    assert all(queries[query] != documents[document] for query, document in cross)
    assert len(set(same + cross)) == len(same + cross)


def test_equal_headings_become_one_query_with_both_sections(debs, tmp_path):
    out = tmp_path / "faq"
    build_debian_docs(debs, "faq", out)
    found = {document for query, document in pairs(out / "qrels" / "test.tsv") if query == "q/en/basics.kernel"}
    assert found == {"en/basics.kernel", "en/basics.again"}
    across = {document for query, document in pairs(out / "qrels" / "cross.tsv") if query == "q/en/basics.kernel"}
    assert across == {"de/basics.kernel", "zh-cn/basics.again"}


def test_the_same_packages_in_another_order_give_the_same_bytes(debs, tmp_path):
    build_debian_docs(debs, "faq", tmp_path / "one")
    build_debian_docs(debs[::-1], "faq", tmp_path / "two")
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert [str(file) for file in files] == [
        "SOURCE.txt", "corpus.jsonl", "qrels/cross.tsv", "qrels/test.tsv", "queries.jsonl"
    ]  # fmt: skip
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)


def test_the_source_names_packages_versions_and_licence(debs, tmp_path):
    build_debian_docs(debs, "faq", tmp_path / "faq")
    source = (tmp_path / "faq" / "SOURCE.txt").read_text(encoding="utf-8")
    assert source.startswith(
        "debian-faq\nDebian packages: debian-faq-de 11.1, debian-faq-zh-cn 11.1, debian-faq 11.1\n"
    )
    assert "Licence: Debian FAQ, copyright 1996-2003 Software in the Public Interest" in source


def test_the_reference_reads_its_own_packages_only(debs, tmp_path):
    page = docbook_page("Chapter 1. Tutorials", [("_console", "1.1. Console basics", f"<p>{KERNEL}</p>")])
    reference = write_deb(tmp_path / "debian-reference-en_2.100_all.deb", {"usr/share/doc/x/ch01.en.html": page})
    build_debian_docs([*debs, reference], "reference", tmp_path / "out")
    assert [line["_id"] for line in lines(tmp_path / "out" / "corpus.jsonl")] == ["en/ch01._console"]


def test_files_of_other_packages_are_refused(debs, tmp_path):
    with pytest.raises(
        InputError, match=r"none of the 3 files given is a debian-reference package; .* debian-reference-en"
    ):
        build_debian_docs(debs, "reference", tmp_path / "out")
