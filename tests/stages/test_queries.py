"""Writing queries and leaving the useless ones out."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.records import Document, Dropped, Query
from tamis.stages.queries import (
    copy_of_passage,
    copy_of_shot,
    filter_queries,
    given_queries,
    seed_of_query,
    too_long,
    too_short,
    write_queries,
    wrong_language,
)

DOCUMENT = Document(
    "d1",
    "Drucker einrichten\n"
    "Öffnen Sie die Einstellungen des Systems. Wählen Sie dort den Drucker aus der Liste der Geräte.",
    "de",
)
DOCUMENTS = {"d1": DOCUMENT}


@dataclass
class FakeGenerator:
    """Writes the document's id, the seed and a line break."""

    name: str = "fake"
    prompt: str = "abc"
    calls: list[tuple[str, int]] = field(default_factory=list)

    def __call__(self, document, seed):
        self.calls.append((document.doc_id, seed))
        return f"  about\n{document.doc_id} {seed} "


def query(text, generator="model", language="de", query_id="q", origin="target"):
    return Query(query_id, text, language, origin, "d1", generator)


def german(text):
    return "de"


def reasons(queries, identify=german, shots=()):
    results = filter_queries(queries, DOCUMENTS, identify, shots)
    return [result.reason if isinstance(result, Dropped) else None for result in results]


def test_written_queries_remember_where_they_came_from():
    documents = [Document("a", "x", "de"), Document("b", "y", "ru", "general")]
    first, _, _, last = write_queries(documents, FakeGenerator(), per_document=2, seed=1)
    seed = seed_of_query(1, "a", 0)
    assert first == Query("fake/0/a", f"about a {seed}", "de", "target", "a", "fake", "abc", seed)
    assert (last.query_id, last.language, last.origin) == ("fake/1/b", "ru", "general")


def test_queries_do_not_depend_on_the_order_of_the_documents():
    documents = [Document(str(i), "x", "de") for i in range(5)]
    one = {q.query_id: q for q in write_queries(documents, FakeGenerator(), 3, seed=1)}
    other = {q.query_id: q for q in write_queries(reversed(documents), FakeGenerator(), 3, seed=1)}
    assert one == other
    assert len({q.seed for q in one.values()}) == 15


@given(st.integers(), st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 100))
def test_the_seed_is_even_for_the_first_query_of_a_document_only(seed, doc_id, number):
    derived = seed_of_query(seed, doc_id, number)
    assert 0 <= derived < 2**31
    assert derived % 2 == (number > 0)


def test_given_queries_take_language_and_origin_from_their_document():
    documents = {"g1": Document("g1", "text", "fr", "general")}
    rows = [("q1", "un  titre\n", "g1"), ("q2", "perdu", "gone")]
    assert list(given_queries(rows, documents)) == [
        Query("given/q1/g1", "un titre", "fr", "general", "g1", "given"),
        Dropped("given/q2/gone", "unknown document", "und", "perdu"),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "too short"),
        ("Drucker", "too short"),
        ("Drucker ?", "too short"),
        ("Drucker wählen", None),
        ("принтер", "too short"),
        ("принтер выбрать", None),
        ("打印机", "too short"),
        ("选择打印机", None),
        ("設定する", None),
        ("프린터", "too short"),
        ("프린터 설정", None),
        ("แมว", "too short"),
        ("แมวนอนหลับ", None),
        ("प्रिंटर", "too short"),
        ("प्रिंटर चुनें", None),
        ("طابعة", "too short"),
        ("اختيار الطابعة", None),
    ],
)
def test_short_queries_are_refused_in_every_script(text, reason):
    assert too_short(query(text), DOCUMENT) == reason


def test_long_queries_are_refused():
    assert too_long(query("x" * 200), DOCUMENT) is None
    assert too_long(query("x" * 201), DOCUMENT) == "too long"
    assert too_long(query("a " * 40), DOCUMENT) is None
    assert too_long(query("a " * 41), DOCUMENT) == "too long"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("öffnen sie die EINSTELLUNGEN des Systems", "copy of the passage"),  # a sentence
        ("Drucker einrichten", "copy of the passage"),  # a line
        ("Öffnen Sie die Einstellungen des Systems. Wählen Sie dort", "copy of the passage"),  # a sentence and more
        ("Wählen Sie dort den Drucker aus der Liste", "copy of the passage"),  # most of a sentence
        ("Liste der Geräte", None),
        ("Wo finde ich die Liste der Geräte?", None),
        ("Wie kann ich einen Drucker einrichten?", None),
    ],
)
def test_a_language_model_may_not_copy_sentences(text, reason):
    assert copy_of_passage(query(text), DOCUMENT) == reason


@pytest.mark.parametrize("generator", ["extractive", "given"])
def test_extracts_and_given_queries_may_be_sentences_but_not_the_document(generator):
    assert copy_of_passage(query("Drucker einrichten", generator), DOCUMENT) is None
    assert copy_of_passage(query(DOCUMENT.text, generator), DOCUMENT) == "copy of the passage"


def test_a_copy_of_a_shot_is_refused_for_language_models_only():
    judge = copy_of_shot(["Warum ist Brot alt?"])
    assert judge(query("warum ist Brot alt"), DOCUMENT) == "copy of a shot"
    assert judge(query("warum ist Brot alt", "given"), DOCUMENT) is None
    assert judge(query("warum ist die Liste neu"), DOCUMENT) is None


def test_a_query_pieced_together_from_shots_is_a_copy_unless_the_document_holds_its_words():
    judge = copy_of_shot(["Warum ist Brot alt?", "Darf mein Rad mit?"])
    assert judge(query("Warum darf mein Brot mit Vater?"), DOCUMENT) == "copy of a shot"
    bakery = Document("d1", "Das Brot darf mein Vater mit dem Rad holen.", "de")
    assert judge(query("Warum darf mein Brot mit Vater?"), bakery) is None
    assert judge(query("Warum ist Brot alt?"), bakery) == "copy of a shot"


def test_a_query_in_another_language_is_refused():
    judge = wrong_language(lambda text: "en" if "the" in text.split() else "de")
    assert judge(query("where do I choose the printer"), DOCUMENT) == "wrong language"
    assert judge(query("wo wähle ich meinen Drucker aus"), DOCUMENT) is None
    assert judge(query("the printer"), DOCUMENT) is None  # too short to be told apart
    assert judge(query("where do I choose the printer", "extractive"), DOCUMENT) is None  # the document's own words


def test_languages_are_compared_by_their_primary_part():
    chinese = Document("d1", "长城很长。", "zh-cn")
    judge = wrong_language(lambda text: "zh-tw")
    assert judge(query("长城全长超过两万公里主要修建于明朝用于抵御", language="zh-cn"), chinese) is None


def test_a_tag_that_the_identifier_does_not_know_is_no_wrong_language():
    bhojpuri = Document("d1", "ई किताब बहुत बढ़िया बा।", "bho")
    judge = wrong_language(lambda text: "hi")
    assert judge(query("ई किताब के बारे में बतावल जाय कि कइसन बा", language="bho"), bhojpuri) is None


def test_a_copy_of_a_kept_query_is_refused_within_its_language_and_origin():
    queries = [
        query("Drucker wählen"),
        query("DRUCKER, wählen!"),
        query("Drucker wählen", language="nl"),
        query("Drucker wählen", origin="general"),
    ]
    assert reasons(queries) == [None, "copy of another query", None, None]


def test_the_first_reason_wins():
    assert reasons([query("Brot?")], shots=["Brot"]) == ["too short"]
    assert reasons([query("x " * 150)]) == ["too long"]


def test_a_dropped_query_tells_its_text_and_language():
    (dropped,) = filter_queries([query("x " * 150)], DOCUMENTS, german, ())
    assert isinstance(dropped, Dropped)
    assert (dropped.record_id, dropped.language, len(dropped.text)) == ("q", "de", 200)


@given(st.lists(st.text(alphabet="aä b?", max_size=12)))
def test_kept_and_dropped_queries_add_up_to_what_came_in(texts):
    queries = [query(text, query_id=str(i)) for i, text in enumerate(texts)]
    results = list(filter_queries(queries, DOCUMENTS, german, ["a b"]))
    ids = [result.query_id if isinstance(result, Query) else result.record_id for result in results]
    assert ids == [q.query_id for q in queries]
    kept = [result for result in results if isinstance(result, Query)]
    assert list(filter_queries(kept, DOCUMENTS, german, ["a b"])) == kept
