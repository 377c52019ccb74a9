"""Writing queries and leaving the useless ones out."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.formats.written_queries import WrittenQuery
from tamis.records import Document, Dropped, Prompt, Query, QueryAnswer
from tamis.stages.queries.given import given_queries, logged_queries
from tamis.stages.queries.write import (
    WritingPlan,
    copy_of_passage,
    copy_of_shot,
    copy_of_style,
    filter_queries,
    queries_of_file,
    requests_for,
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
    """Writes the document's id, the seed and a line break; finishes the last request first."""

    name: str = "fake"
    model: str = "some/fake"
    refuses: tuple[str, ...] = ()

    def write(self, requests):
        for request in reversed(list(requests)):
            doc_id = request.document.doc_id
            if doc_id in self.refuses:
                yield QueryAnswer(request.place, reason="malformed answer")
            else:
                yield QueryAnswer(request.place, f"  about\n{doc_id} {request.seed} ")


def ask(document, kind, number, seed):
    return Prompt(f"{kind} {number} {seed}: {document.text}", f"hash of {kind} {number}")


def query(text, generator="model", language="de", query_id="q", origin="target"):
    return Query(query_id, text, language, origin, "d1", generator)


def german(text):
    return "de"


def reasons(queries, identify=german, shots=()):
    results = filter_queries(queries, DOCUMENTS, identify, shots)
    return [result.reason if isinstance(result, Dropped) else None for result in results]


def test_written_queries_remember_where_they_came_from():
    documents = [Document("a", "x", "de"), Document("b", "y", "ru", "general")]
    plan = WritingPlan(2, 1, {"claim": 1.0}, (0.2, 0.8), ask)
    first, second, _, last = write_queries(documents, FakeGenerator(), plan)
    seed = seed_of_query(1, "a", 0)
    assert first == Query(
        query_id="fake/0/a",
        text=f"about a {seed}",
        language="de",
        origin="target",
        document_id="a",
        generator="fake",
        prompt="hash of claim 0",
        seed=seed,
        model="some/fake",
        temperature=0.2,
        kind="claim",
    )
    assert (second.temperature, second.prompt) == (0.8, "hash of claim 1")
    assert (last.query_id, last.language, last.origin) == ("fake/1/b", "ru", "general")


def test_the_prompt_of_a_query_knows_its_number_and_its_seed():
    (_, first), (_, second) = requests_for([Document("a", "x", "de")], WritingPlan(2, 1, {"claim": 1.0}, ask=ask))
    assert first.prompt.text == f"claim 0 {seed_of_query(1, 'a', 0)}: x"
    assert second.prompt.text == f"claim 1 {seed_of_query(1, 'a', 1)}: x"


def test_queries_come_in_the_documents_order_and_do_not_depend_on_it():
    documents = [Document(str(i), "x", "de") for i in range(5)]
    one = list(write_queries(documents, FakeGenerator(), WritingPlan(3, 1)))
    other = list(write_queries(documents[::-1], FakeGenerator(), WritingPlan(3, 1)))
    assert [q.query_id for q in one] == [f"fake/{n}/{i}" for i in range(5) for n in range(3)]
    assert sorted(one, key=lambda q: q.query_id) == sorted(other, key=lambda q: q.query_id)
    assert len({q.seed for q in one}) == 15


@pytest.mark.parametrize("text", ["", " \n\t", "\x00"])
def test_what_a_language_model_left_blank_is_dropped_as_that_and_an_extract_is_short(text):
    def write(requests):
        yield from (QueryAnswer(request.place, text) for request in requests)

    documents, plan = [Document("a", "x", "de")], WritingPlan(1, 1)
    (dropped,) = write_queries(documents, SimpleNamespace(name="fake", model="some/fake", write=write), plan)
    assert (dropped.record_id, dropped.reason) == ("fake/0/a", "no text in the answer")
    (extract,) = write_queries(documents, SimpleNamespace(name="extractive", model="", write=write), plan)
    assert reasons([replace(extract, document_id="d1")]) == ["too short"]


def test_a_query_that_could_not_be_written_is_dropped_with_the_reason():
    documents = [Document(str(i), "x", "de") for i in range(3)]
    first, dropped, last = write_queries(documents, FakeGenerator(refuses=("1",)), WritingPlan(1, 1))
    assert dropped == Dropped("fake/0/1", "malformed answer", "de", "")
    assert (first.query_id, last.query_id) == ("fake/0/0", "fake/0/2")


def test_queries_of_a_file_are_about_their_documents_or_dropped_with_the_reason():
    documents = {"a": Document("a", "x", "de-at"), "b/1": Document("b/1", "y", "ru")}
    rows = [
        WrittenQuery("1", "a", " wo \n ist  das", "de", "keyword"),
        WrittenQuery("2", "b/1", "где", "", ""),
        WrittenQuery("3", "gone", "where", "en", ""),
        WrittenQuery("4", "never", "where", "", ""),
        WrittenQuery("5", "a", "where", "en", ""),
    ]
    assert list(queries_of_file(rows, "mine", documents, {"gone"})) == [
        Query("mine/1/a", "wo ist das", "de-at", "target", "a", "mine", kind="keyword"),
        Query("mine/2/b/1", "где", "ru", "target", "b/1", "mine"),
        Dropped("mine/3/gone", "its document was left out", "en", "where"),
        Dropped("mine/4/never", "unknown document", "und", "where"),
        Dropped("mine/5/a", "wrong language", "en", "where"),
    ]


def test_a_copy_of_one_example_of_style_is_refused_and_words_of_several_are_not():
    style = ["warum druckt nichts mehr", "laptop startet langsam", "welcher drucker passt zu linux"]
    judge = copy_of_style(style)
    asked = ["Laptop startet langsam?", "laptop startet heute langsam", "warum startet linux", "drucker auswählen"]
    said = [judge(query(text), DOCUMENT) for text in asked]
    assert said == ["copy of an example of style"] * 2 + [None, None]
    assert judge(query("laptop startet langsam", "given"), DOCUMENT) is None
    assert judge(query("laptop startet langsam", "extractive"), DOCUMENT) is None
    of_document = Document("d1", "Ein Laptop startet langsam, wenn seine Platte voll ist.", "de")
    assert judge(query("laptop startet morgens langsam"), of_document) is None  # the words are the document's
    assert copy_of_style([])(query("laptop startet langsam"), DOCUMENT) is None
    found = filter_queries([query(text) for text in asked], DOCUMENTS, german, (), style)
    assert [isinstance(one, Dropped) for one in found] == [True, True, False, False]


def test_types_are_drawn_by_weight_and_by_seed():
    documents = [Document(str(i), "x", "de") for i in range(2000)]

    def kinds(weights, seed=1):
        return [q.kind for q in write_queries(documents, FakeGenerator(), WritingPlan(1, seed, weights))]

    drawn = kinds({"question": 3.0, "claim": 1.0})
    assert kinds({"claim": 1.0, "question": 3.0}) == drawn  # not by the order in the recipe
    assert kinds({"question": 3.0, "claim": 1.0}, seed=2) != drawn
    assert drawn.count("question") == pytest.approx(1500, abs=100)
    assert kinds({}) == [""] * 2000


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


def test_queries_of_a_log_have_no_document_and_speak_a_language_of_the_documents():
    rows = [
        ("7", "wo  ist\tdas Kabel", "und"),
        ("a/b", "where is it", "en-us"),
        ("9", "où est-il", "fr"),
        ("10", "哪里", "zh"),
    ]
    languages = ["de", "en", "zh-cn", "zh-tw"]
    found = list(logged_queries(rows, "2026.txt", "target", languages, german))
    assert found[0] == Query("log/2026.txt/7", "wo ist das Kabel", "de", "target", "", "given")
    assert [one.query_id for one in found] == [f"log/2026.txt/{number}" for number, _, _ in rows]
    assert [one.language for one in found] == ["de", "en", "fr", "zh-cn"]
    identified = logged_queries([("1", "哪里", "und")], "x", "general", languages, lambda text: "zh")
    assert [(one.language, one.origin) for one in identified] == [("zh-cn", "general")]


def test_a_query_without_a_document_is_judged_by_itself_alone():
    typed = [
        ("Drucker einrichten", None),
        ("Brot", "too short"),
        ("x " * 50, "too long"),
        ("drucker: EINRICHTEN", "copy of another query"),
        (DOCUMENT.text[:80], None),
        ("where do I choose the printer of this system", None),
        ("Warum ist Brot alt?", None),
    ]
    queries = [replace(query(text, "given"), document_id="", query_id=str(n)) for n, (text, _) in enumerate(typed)]
    assert reasons(queries, lambda text: "en", ["Warum ist Brot alt?"]) == [reason for _, reason in typed]


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
    assert too_short(query(text)) == reason


def test_long_queries_are_refused():
    assert too_long(query("x" * 200)) is None
    assert too_long(query("x" * 201)) == "too long"
    assert too_long(query("a " * 40)) is None
    assert too_long(query("a " * 41)) == "too long"


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
