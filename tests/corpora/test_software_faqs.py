import json

import pytest

from corpora import software_faqs
from corpora.software_faqs import build_software_faqs, read_docbook, read_pod
from tamis.errors import InputError
from tests.corpora.packaged import write_deb

ANSWERS = {
    "en": "Open the configuration dialog of &kmail;, choose the page with the accounts and clear the box for news.",
    "de": "Öffnen Sie den Einrichtungsdialog von &kmail;, wählen Sie die Seite mit den Zugängen, leeren Sie das Feld.",
    "ru": "Откройте диалог настройки, выберите страницу с учётными записями и снимите флажок у новостей на ней.",
}
QUESTIONS = {
    "en": "How do I stop the news?",
    "de": "Wie bestelle ich &kmail;-Nachrichten ab?",
    "ru": "Как отключить новости?",
}


def entry(question, answer, name=""):
    # The odd line breaks are the ones that KDE's translation tools write.
    attribute = f' id="{name}"' if name else ""
    return (
        f"<qandaentry>\n  <question{attribute}\n><para\n>{question}</para\n></question>\n  <answer>"
        f"<indexterm><primary>hidden</primary></indexterm><para\n>{answer}</para><para\n>&nbsp;</para></answer>\n"
        "</qandaentry>\n"
    )


def page(*entries):
    return f'<chapter id="faq"><title\n>Questions &FAQ;</title><qandaset>{"".join(entries)}</qandaset></chapter>'


def handbook(locale, content):
    return {f"usr/share/doc/HTML/{locale}/kmail2/faq.docbook": content}


@pytest.fixture
def small(monkeypatch):
    """A language needs no more than one document."""
    rules = software_faqs._RULES
    changed = {name: getattr(rules, name) for name in rules.__dataclass_fields__} | {"documents_per_language": 1}
    monkeypatch.setattr(software_faqs, "_RULES", type(rules)(**changed))


@pytest.fixture
def debs(tmp_path, small):
    pages = {language: page(entry(QUESTIONS[language], ANSWERS[language])) for language in ANSWERS}
    files = handbook("en", pages["en"]) | handbook("de", pages["de"]) | handbook("ru", pages["ru"])
    pod = "=head1 NAME\n\nperlfaq4\n\n=head2 Why is C<int()> broken?\n\nYour L<int|perlfunc/int> works, B<really>: "
    pod += (
        "see the next question for why.\n\n    print int(0.6/0.2-2);\n\nIt is the numbers that are not what you think."
    )
    pod += "\n\n=head1 AUTHOR\n\nNobody."
    return [
        write_deb(tmp_path / "kmail_1_amd64.deb", files),
        write_deb(tmp_path / "perl-doc_5_all.deb", {"usr/share/perl/5.36.0/pod/perlfaq4.pod": pod}),
    ]


def lines(path):
    return {line["_id"]: line["text"] for line in map(json.loads, path.read_text(encoding="utf-8").splitlines())}


def test_questions_of_all_languages_are_judged_with_their_answers(debs, tmp_path):
    counts = build_software_faqs(debs, tmp_path / "out")
    questions, documents = lines(tmp_path / "out" / "queries.jsonl"), lines(tmp_path / "out" / "corpus.jsonl")
    assert questions == {
        "q/de/kmail2/faq/0": "Wie bestelle ich kmail-Nachrichten ab?",
        "q/en/kmail2/faq/0": "How do I stop the news?",
        "q/en/perlfaq4/0": "Why is int() broken?",
        "q/ru/kmail2/faq/0": "Как отключить новости?",
    }
    assert documents["de/kmail2/faq/0"] == ANSWERS["de"].replace("&kmail;", "kmail")
    assert documents["en/perlfaq4/0"] == (
        "Your int works, really: see the next question for why.\nIt is the numbers that are not what you think."
    )
    assert (counts.languages, counts.same_language_pairs, counts.cross_language_pairs) == (3, 4, 6)


def test_answers_that_were_left_in_english_are_left_out(tmp_path, small):
    files = handbook("en", page(entry(QUESTIONS["en"], ANSWERS["en"])))
    files |= handbook("de", page(entry(QUESTIONS["de"], ANSWERS["en"])))
    build_software_faqs([write_deb(tmp_path / "kmail_1_amd64.deb", files)], tmp_path / "out")
    assert list(lines(tmp_path / "out" / "corpus.jsonl")) == ["en/kmail2/faq/0"]


def test_a_page_with_other_entries_than_the_english_one_is_no_translation_by_number(tmp_path, small):
    english = page(entry(QUESTIONS["en"], ANSWERS["en"]), entry("How do I read the news?", ANSWERS["en"] + " Read it."))
    files = handbook("en", english) | handbook("de", page(entry(QUESTIONS["de"], ANSWERS["de"])))
    counts = build_software_faqs([write_deb(tmp_path / "kmail_1_amd64.deb", files)], tmp_path / "out")
    assert (counts.documents, counts.cross_language_pairs) == (3, 0)


def test_entries_keep_their_ids_and_hide_index_terms():
    entries = read_docbook(page(entry("Why?", "Because &lt;b&gt; &amp; &eg; this.", name="why"), entry("How?", "So.")))
    assert [(name, section.headings, section.paragraphs) for name, section in entries] == [
        ("why", ("Why?",), ("Because <b> & eg this.",)),
        ("", ("How?",), ("So.",)),
    ]


def test_a_page_without_questions_gives_none():
    assert read_docbook("<chapter><para>No question here.</para></chapter>") == []
    assert read_pod("=head1 NAME\n\nperl - a language\n") == []


def test_a_second_run_gives_the_same_bytes(debs, tmp_path):
    for name in ("one", "two"):
        build_software_faqs(debs, tmp_path / name)
    for file in [path for path in (tmp_path / "one").rglob("*") if path.is_file()]:
        assert file.read_bytes() == (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes()


def test_other_packages_are_refused(tmp_path):
    deb = write_deb(tmp_path / "hello_1_all.deb", {"usr/bin/hello": ""})
    with pytest.raises(InputError, match="no question in the 1 files given; expected the Debian packages kmail"):
        build_software_faqs([deb], tmp_path / "out")
