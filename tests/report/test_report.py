"""The report page: what stands on it, that hostile text stays text, and that it needs nothing but itself."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.evaluation.figures import means_over_sets, model_facts
from tamis.records import GROUPS, Document, Query, TrainingList
from tamis.report.answer import answer_of
from tamis.report.examples import ChangedQuestions, QuestionRun, QuestionTexts, changed_questions
from tamis.report.highlight import common_words, matching_part
from tamis.report.page import ReportData, write_report
from tamis.report.verdict import verdict
from tamis.report.wording import duration, p_value, signed, size
from tamis.stages.evaluate.targets import ADAPTATION

LANGUAGES = ["de", "ja", "ar"]
STUDENTS = ("untrained", "specialists", "merged")
VOID = {"meta", "br", "hr", "img", "input", "link"}
HOSTILE = "<script>alert('x')</script>"


class Page(HTMLParser):
    """Text, tables, ids and attributes of a page; fails on tags that do not nest."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.headings: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self._caption = ""
        self.feed(source)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "table":
            self._rows, self._caption = [], ""
        if tag == "tr":
            self._rows.append([])
        if tag in {"td", "th"}:
            self._rows[-1].append("")
        if tag == "h2":
            self.headings.append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        if tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data):
        if {"style", "script"} & set(self._open):
            return
        self.text += data
        if "caption" in self._open:
            self._caption += data
        if {"td", "th"} & set(self._open):
            self._rows[-1][-1] += data
        if "h2" in self._open:
            self.headings[-1] += data

    def table(self, start: str) -> list[list[str]]:
        """Rows of the one table whose caption starts so, white space put in order."""
        (rows,) = [rows for caption, rows in self.tables.items() if caption.startswith(start)]
        return [[" ".join(cell.split()) for cell in row] for row in rows]


def made_results():
    ndcg = {"bm25": 0.40, "dense": 0.45, "hybrid": 0.50, "teacher": 0.58}
    systems = [
        {"name": name, "title": title, "group": "first stage", "baseline": None}
        for name, title in (("bm25", "BM25"), ("dense", "Dense"), ("hybrid", "Hybrid"))
    ]
    systems.append({"name": "teacher", "title": "Teacher", "group": "teacher", "baseline": "hybrid"})
    for sign, group in GROUPS.items():
        for first_stage in ("bm25", "hybrid"):
            for gain, student in zip((-0.05, 0.06, 0.081), STUDENTS, strict=True):
                name = f"{student}{sign}{first_stage}"
                systems.append({"name": name, "title": name, "group": group, "baseline": first_stage})
                ndcg[name] = ndcg[first_stage] + gain / (1 if first_stage == "bm25" else 5) - 0.01 * (sign == "~")
    shifts = dict(zip(LANGUAGES, (0.02, -0.03, 0.01), strict=True))
    per_language = {
        name: {lang: value + shift * any(sign in name for sign in "~@+") for lang, shift in shifts.items()}
        for name, value in ndcg.items()
    }

    def compared(system, baseline, p):
        difference = ndcg[system] - ndcg[baseline]
        own = {lang: per_language[system][lang] - per_language[baseline][lang] for lang in LANGUAGES}
        return {
            "system": system,
            "baseline": baseline,
            "difference": difference,
            "interval": [difference - 0.01, difference + 0.01],
            "p_value": 0.00001,
            "p_holm": p,
            "effect_size": difference * 10,
            "effect_interval": [-0.03, 0.21],
            "wins": 31,
            "ties": 20,
            "losses": 9,
            "per_language": {
                lang: {
                    "difference": one,
                    "interval": [one - 0.02, one + 0.03],
                    "p_holm": 0.01 if lang == "de" else 0.4,
                }
                for lang, one in own.items()
            },
        }

    comparisons = [
        compared(one["name"], one["baseline"], 0.0002 if one["baseline"] == "bm25" else 0.21)
        for one in systems
        if one["baseline"]
    ]
    comparisons += [compared(*pair, p) for pair, p in zip(ADAPTATION, (0.001, 0.34, 0.2, 0.5), strict=True)]
    by_language = {
        lang: {"questions": 20, "figures": {name: own[lang] for name, own in per_language.items()}}
        for lang in LANGUAGES
    }
    targets = [
        {"name": "gain over BM25", "value": 8.1, "bound": ">= 5", "met": True},
        {"name": "gain over hybrid", "value": -1.62, "bound": ">= -0.5", "met": False},
    ]
    found = {
        "questions": 20 * len(LANGUAGES),
        "systems": systems,
        "figures": {name: {"nDCG@10": value} for name, value in ndcg.items()},
        "tie_rate": dict.fromkeys(ndcg, 0.0) | {"bm25": 0.125},
        "groups": {"language": by_language, "domain": {}},
        "adapted_to_corpus": {"untrained": False, "specialists": True, "merged": True},
        "comparisons": comparisons,
    }
    return {
        "main_measure": "nDCG@10",
        "depth": 20,
        "models": {name: model_facts(None, "float32", {}, None) for name in STUDENTS},
        "sets": {"demo": found},
        "means": means_over_sets({"demo": found}),
        "run": {"recipe": "demo", "seed": 7, "domains": {}, "targets": targets},
    }


def set_mean(results, system, value):
    results["sets"]["demo"]["figures"][system]["nDCG@10"] = results["means"][system]["nDCG@10"] = value


def compared_with_first_stages(results):
    comparisons = results["sets"]["demo"]["comparisons"]
    return {one["system"]: one for one in comparisons if one["baseline"] in ("bm25", "dense", "hybrid")}


def adaptation(results):
    return results["sets"]["demo"]["comparisons"][-len(ADAPTATION) :]


def made_step(other, accepted, reason):
    return {
        "merged": ["latin"],
        "with": other,
        "t": 0.3,
        "agreement": {"latin": 0.61, "cjk": 0.52},
        "accepted": accepted,
        "reason": reason,
        "linear": 2,
        "tensors": 40,
        "mean_angle": 81.25,
        "layer_angles": {"10": 80.4, "11": 82.1},
    }


def made_changed(documents, question="Question {}?"):
    """Thirty questions, of which the later ones rose and the earlier ones fell."""
    ids = [f"t{number}" for number in range(30)]
    asked = QuestionTexts(
        {one: question.format(number) for number, one in enumerate(ids)},
        {one: LANGUAGES[number % 3] for number, one in enumerate(ids)},
        {one: {"d1"} for one in ids},
        documents,
    )
    ranked = [f"d{number}" for number in range(10)]
    before = QuestionRun(dict.fromkeys(ids, 0.5), dict.fromkeys(ids, ranked))
    after = QuestionRun(
        {one: 0.5 + (number - 15) / 40 for number, one in enumerate(ids)}, {one: ["d1", *ranked[2:]] for one in ids}
    )
    return [ChangedQuestions("demo", "merged+hybrid", "hybrid", *changed_questions(asked, before, after))]


def made_data():
    documents = {
        f"d{number}": Document(
            f"d{number}", f"Text of document {number}. " + "More of it. " * 40, LANGUAGES[number % 3]
        )
        for number in range(12)
    }
    queries = {
        f"q{number}": Query(
            f"q{number}", f"query {number}", f"{LANGUAGES[number % 3]}", "target", f"d{number}", "extractive"
        )
        for number in range(12)
    }
    return ReportData(
        title="A demo corpus",
        results=made_results(),
        changed=made_changed(documents),
        merge_path={
            "domains": ["latin", "cjk"],
            "agreement": {
                "untrained": {"latin": 0.4, "cjk": 0.3},
                "general": {"latin": 0.5, "cjk": 0.45},
                "latin": {"latin": 0.6, "cjk": 0.44},
                "cjk": {"latin": 0.47, "cjk": 0.55},
                "merged": {"latin": 0.61, "cjk": 0.52},
            },
            "steps": [
                made_step("cjk", False, "latin falls by 0.0123, more than 0.005"),
                made_step("cjk", False, ""),
                made_step("cjk", True, ""),
            ],
            "t_curves": [
                {
                    "merged": ["latin"],
                    "with": "cjk",
                    "points": [
                        {"t": t, "agreement": {"latin": 0.6 - t / 10, "cjk": 0.44 + t / 10}, "outcome": outcome}
                        for t, outcome in ((0.0, "parent"), (0.3, "accepted"), (0.7, "refused"), (1.0, "parent"))
                    ],
                }
            ],
            "order": ["latin", "cjk"],
            "first_stage_weights": {"bm25": 0.5, "hybrid": 1.0, "other": 0.5, "order": 0.25},
            "weights_by_language": {"bm25": {"ja": 2.0}},
            "weight_curves": {
                "bm25": [[0.0, 0.5], [0.5, 0.6], [1.0, 0.55]],
                "hybrid": [[0.0, 0.5], [0.5, 0.6], [1.0, 0.65]],
                "other": [[0.0, 0.5], [0.5, 0.6], [1.0, 0.6]],
                "order": [[0.0, 0.5], [0.25, 0.54], [1.0, 0.52]],
            },
        },
        curves={
            name: {
                "loss": [[step, 2 / (step + 1)] for step in range(1, 60)],
                "agreement": [[0, 0.3], [30, 0.5], [59, 0.45]],
                "chosen": 30,
            }
            for name in ("general", "latin", "cjk")
        },
        manifests=[
            {
                "stage": "corpus",
                "key": "0123456789ab",
                "reads": {},
                "peak_memory_bytes": 2**30,
                "counts": {"in": 15, "kept": 12, "dropped": {"too short": 1, "copy": 2}},
                "languages": {"de": 4, "ja": 4, "ar": 4},
                "seconds": 2.5,
                "versions": {"python": "3.11.2", "numpy": "2.4.6"},
                "settings": {"max_chars": 1000},
            },
            {
                "stage": "queries",
                "counts": {"in": 24, "kept": 20, "dropped": {"copied": 3}},
                "seconds": 75.0,
                "generators": {
                    "extractive": {"in": 14, "kept": 14, "dropped": {}},
                    "qwen": {"in": 10, "kept": 6, "dropped": {"copied": 3, "too short": 1}},
                },
            },
            {"stage": "lists", "generators": {"qwen": {"in": 6, "kept": 4, "dropped": {"copied": 0, "not found": 2}}}},
            {"stage": "merge"},
        ],
        costs={"seconds": 11520.0, "peak_memory_bytes": 5.5 * 2**30},
        documents=documents,
        queries=queries,
        lists=[TrainingList("q0", "latin", "train", ("d0", "d1"), (1.0, -0.5), (15, 3), (2.0, 1.0))],
        origin={"Initialiser": "a-small-encoder", "Teacher": "1 bi-encoder + 0.5 BM25"},
        recipe="name: demo\nseed: 7\n",
        model_bytes=470_000_000,
    )


@pytest.fixture
def in_words(monkeypatch):
    """The same without plots, which take nearly all of the time to write a page."""
    monkeypatch.setattr("tamis.report.plots.language_changes", lambda *given: "<svg></svg>")
    data = made_data()
    path = {name: part for name, part in data.merge_path.items() if name not in ("t_curves", "weight_curves")}
    return replace(data, curves={}, lists=[], merge_path=path)


def written(data, folder):
    path = folder / "report.html"
    write_report(data, path)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return written(made_data(), tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


def test_the_weights_are_said_with_what_order_and_other_stand_for_and_by_language(page):
    said = page.text.split("Weight of the first stage")[-1].split("What was kept and what was dropped")[0]
    assert "bm25 0.5, hybrid 1.0, other 0.5, order 0.25" in said
    assert "order stands for the order in which the candidates come" in said
    assert "Surely better with bm25: ja 2.0." in said


def test_the_answer_comes_first_and_says_points_p_values_and_cost(page):
    before_the_results = page.text.split("Language by language")[0].replace("\N{NO-BREAK SPACE}", " ")
    assert (
        "As served, with documents sent in the first stage’s order and nothing else, the merged student raises mean "
        "nDCG@10 by 7.1 points over BM25 (40.0 → 47.1, p < 0.001) and raises it by 0.6 points over Hybrid "
        "(50.0 → 50.6, p = 0.210, which may be chance). With the first stage’s scores sent along, it raises mean "
        "nDCG@10 by 1.6 points over Hybrid (50.0 → 51.6, p = 0.210, which may be chance)."
    ) in before_the_results
    assert "3 h 12 min" in before_the_results
    assert "5.5 GiB" in before_the_results


@pytest.mark.parametrize(
    ("gain", "p", "parts", "said"),
    [
        (0.02, 0.01, [("de", 0.02, True), ("fr", -0.01, False)], "Deploy it."),
        (
            0.02,
            0.01,
            [("de", 0.04, True), ("fr", -0.03, True), ("ja", -0.02, True)],
            "Deploy it, but not for fr and ja.",
        ),
        (0.01, 0.20, [("de", 0.04, True), ("fr", -0.03, True)], "Deploy it for de only."),
        (
            -0.02,
            0.01,
            [("de", 0.04, True), ("fr", -0.03, True)],
            "Do not deploy it: it ranks worse, though better for de.",
        ),
        (-0.02, 0.01, [("de", -0.02, False)], "Do not deploy it: it ranks worse."),
        (0.01, 0.20, [("de", 0.04, False), ("fr", -0.03, True)], "Do not deploy it: it ranks worse for fr."),
        (0.01, 0.20, [("de", 0.04, False)], "Do not deploy it yet: what it changes may be chance."),
        (0.0, 1.0, [], "Do not deploy it yet: what it changes may be chance."),
    ],
)
def test_the_verdict_counts_what_is_more_than_chance(gain, p, parts, said):
    assert verdict(gain, p, parts).text == said


def test_the_verdict_stands_first_with_what_speaks_against_it(page, in_words, tmp_path):
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    said = "Deploy it behind Hybrid for de only, and send the first stage’s scores with the documents."
    assert text.index(said) < text.index("the merged student raises") < text.index("Adaptation itself helped")
    assert "As served, without the scores, it has 50.6 against Hybrid’s 50.0 (p = 0.210)." in text
    results = made_results()
    set_mean(results, "dense", 0.6)
    set_mean(results, "untrained+hybrid", 0.55)
    against = Page(written(replace(in_words, results=results), tmp_path)).text
    assert "Without this model, Dense has 60.0." in against
    assert "The untrained student has 55.0 in the same place, and needs no adaptation." in against
    assert "1 of 2 targets are missed." in text
    assert "Transductive: it learnt from the documents that it ranks here" in text
    assert "The untrained student has" not in text


IN_ORDER = ", and send the documents in its order."
WITH_SCORES = ", and send the first stage’s scores with the documents."


@pytest.mark.parametrize(
    ("served", "scored", "said"),
    [
        # Difference to the hybrid and p of the merged student as served, and with the scores.
        ((0.03, 0.01), (0.01, 0.01), "Deploy it behind Hybrid" + IN_ORDER),
        ((0.03, 0.01), (0.0302, 0.01), "Deploy it behind Hybrid" + IN_ORDER),
        ((0.03, 0.01), (0.04, 0.01), "Deploy it behind Hybrid" + WITH_SCORES),
        ((0.03, 0.01), (0.04, 0.30), "Deploy it behind Hybrid" + IN_ORDER),
        ((0.03, 0.30), (0.02, 0.01), "Deploy it behind Hybrid" + WITH_SCORES),
        ((-0.03, 0.01), (0.02, 0.01), "Deploy it behind Hybrid" + WITH_SCORES),
        ((-0.03, 0.01), (-0.02, 0.01), "Do not deploy it behind Hybrid: it ranks worse."),
        ((0.01, 0.30), (0.02, 0.30), "Do not deploy it behind Hybrid yet: what it changes may be chance."),
    ],
)
def test_the_verdict_is_on_what_a_client_gets_and_says_how_documents_are_sent(in_words, tmp_path, served, scored, said):
    results = made_results()
    compared = compared_with_first_stages(results)
    for system, (difference, p) in (("merged~hybrid", served), ("merged+hybrid", scored)):
        nowhere = {lang: one | {"p_holm": 0.5} for lang, one in compared[system]["per_language"].items()}
        compared[system] |= {"difference": difference, "p_holm": p, "per_language": nowhere}
        set_mean(results, system, 0.5 + difference)
    compared["merged@hybrid"] |= {"difference": 0.2, "p_holm": 0.001}  # no client gets it
    set_mean(results, "merged@hybrid", 0.7)
    assert Page(written(replace(in_words, results=results), tmp_path)).text.count(said) == 1


@given(
    values=st.lists(st.floats(-0.1, 0.1), min_size=4, max_size=4),
    ps=st.lists(st.sampled_from([0.001, 0.2]), min_size=4, max_size=4),
)
def test_what_loses_as_served_is_never_deployed_but_with_the_scores(values, ps):
    results = made_results()
    compared = compared_with_first_stages(results)
    for system, place in (("merged~hybrid", 0), ("merged+hybrid", 2)):
        own = {"difference": values[place + 1], "interval": [0, 0], "p_holm": ps[place + 1]}
        compared[system] |= {"difference": values[place], "p_holm": ps[place], "per_language": {"de": own}}
        set_mean(results, system, 0.5 + values[place])
    text = answer_of(results).verdict.text
    if values[0] < 0 and ps[0] < 0.05 and text.startswith("Deploy"):
        assert text.endswith(WITH_SCORES)
        assert values[2] >= 0 or ps[2] > 0.05


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0.01, "Deploy the untrained student behind Hybrid, and send the documents in its order: adaptation made it"),
        (0.20, "Deploy it behind Hybrid for de only, and send the documents in its order."),
    ],
)
def test_what_adaptation_harmed_beyond_chance_is_not_what_to_deploy(in_words, tmp_path, p, said):
    results = made_results()
    adaptation(results)[1] |= {"difference": -0.02, "p_holm": p}
    adaptation(results)[3] |= {"difference": -0.02, "p_holm": 0.01}  # with the scores it is harmed in any case
    assert said in Page(written(replace(in_words, results=results), tmp_path)).text


def test_effect_sizes_stand_with_their_intervals(page):
    rows = page.table("What adaptation itself added")
    assert rows[1][6] == "+1.31 −0.03 to +0.21"  # as served on BM25


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            ((0.121, 0.001), (0.01, 0.2), (-0.3, 0.001), (0.0262, 0.34)),
            "Adaptation itself helped: against the untrained student, the merged one has +12.1 points as served on "
            "BM25 (35.0 → 47.1, p = 0.001), +1.0 points as served on Hybrid (49.6 → 50.6, p = 0.200, which may be "
            "chance) and +2.6 points with scores on Hybrid (49.0 → 51.6, p = 0.340, which may be chance).",
        ),
        (
            ((0.002, 0.6), (0.001, 0.8), (0.3, 0.001), (-0.0002, 1.0)),
            "Adaptation itself added nothing beyond chance: against the untrained student, the merged one has "
            "+0.2 points as served on BM25 (46.9 → 47.1, p = 0.600), +0.1 points as served on Hybrid (50.5 → 50.6, "
            "p = 0.800) and 0.0 points with scores on Hybrid (51.6 → 51.6, p = 1.000).",
        ),
        (((-0.02, 0.01), (-0.03, 0.0001), (0, 1), (0, 1)), "Adaptation itself did harm: "),
        (((0.02, 0.01), (-0.03, 0.0001), (0, 1), (0, 1)), "Adaptation itself helped and did harm: "),
    ],
)
def test_the_answer_tells_what_adaptation_added_from_what_the_student_could_do_before(
    in_words, tmp_path, changes, said
):
    results = made_results()
    for one, (difference, p) in zip(adaptation(results), changes, strict=True):
        figures = results["sets"]["demo"]["figures"]
        set_mean(results, one["baseline"], figures[one["system"]]["nDCG@10"] - difference)
        one |= {"difference": difference, "p_holm": p}
    page = Page(written(replace(in_words, results=results), tmp_path))
    assert said in page.text.replace("\N{NO-BREAK SPACE}", " ")
    rows = page.table("What adaptation itself added")
    assert [row[:2] for row in rows[1:]] == [list(pair) for pair in ADAPTATION]
    assert [row[7:] for row in rows[1:]] == [["31", "20", "9"]] * 4


def test_students_stand_beside_what_they_were_made_from(page):
    rows = {row[0]: row[1:] for row in page.table("Every student beside")}
    teacher = "1 bi-encoder + 0.5 BM25"
    assert rows["untrained"] == ["a-small-encoder", "as it came", "–", "BM25, Hybrid", "not seen"]
    transductive = "transductive: learnt from its documents"
    assert rows["merged"] == ["a-small-encoder", "merged from latin → cjk", teacher, "BM25, Hybrid", transductive]
    titles = page.table("Student alone")[1][2:]
    assert titles == ["BM25", "Dense", "Hybrid", "Teacher", *["untrained", "specialistsT", "mergedT"] * 2]


def test_words_of_a_query_are_marked_where_the_document_matches_best():
    text = (
        "An introduction of no interest. " * 20
        + "Install the package with apt, or another Package. "
        + "The end. " * 30
    )
    pieces = matching_part(text, "How do I install a package?", frozenset("a"), 120)
    part = "".join(piece.text for piece in pieces)
    assert part.startswith("…")
    assert part.endswith("…")
    assert part.strip("…") in text
    assert len(part) <= 122
    assert [piece.text for piece in pieces if piece.matched] == ["Install", "package", "Package"]
    pieces = matching_part("日本語の文書を検索する", "文書 検索", frozenset(), 100)
    assert [piece.text for piece in pieces if piece.matched] == ["文書", "検索"]
    assert matching_part("  one \n two ", "three", frozenset(), 50) == [("one two", False)]


def test_words_that_are_everywhere_are_common():
    documents = [Document(f"d{n}", f"the word{n} stands here", "en") for n in range(30)]
    few = [Document(f"e{n}", "das Wort", "de") for n in range(5)]
    assert common_words([*documents, *few]) == {"en": {"the", "stands", "here"}, "de": set()}


def test_languages_that_lost_are_named_in_the_answer(page):
    text = " ".join(page.text.split())
    assert "1 of 3 languages lost: ja −1.4." in text
    assert "0 of 3 languages lost." in text


def test_missed_targets_are_said_as_plainly_as_met_ones(page):
    text = " ".join(page.text.split())
    assert "Targets: 1 of 2 met" in text
    assert "✓ met gain over BM25: 8.1 (bound ≥ 5)" in text
    assert "✗ missed gain over hybrid: −1.62 (bound ≥ −0.5)" in text


def test_the_page_says_that_the_documents_were_adapted_to(page, in_words, tmp_path):
    assert "Transductive." in page.text
    results = made_results()
    results["sets"]["demo"]["adapted_to_corpus"] = dict.fromkeys(STUDENTS, False)
    assert "Transductive" not in Page(written(replace(in_words, results=results), tmp_path)).text


def test_the_first_table_is_what_a_client_gets_and_the_page_says_so(page, in_words, tmp_path):
    untrusting = Page(written(replace(in_words, merge_path={}), tmp_path))
    path = {"first_stage_weights": {"order": 1.0}, "weights_by_language": {"order": {"ja": 0.5, "de": 2.0}}}
    in_some = Page(written(replace(in_words, merge_path=path), tmp_path))
    assert "(weight of the order in this model: 1, de 2, ja 0.5)" in in_some.text
    captions = [caption for caption in page.tables if caption.endswith(": nDCG@10 by language, in points")]
    assert [caption.split(",")[0] for caption in captions] == ["As served", "Student alone", "Student + first stage"]
    assert captions[0].startswith("As served, what a client gets who sends documents in the first stage’s order")
    assert page.table("As served")[0][-2:] == ["Served behind BM25", "Served behind Hybrid"]
    text = " ".join(page.text.split())
    assert "As served is what a client gets who sends the first 20 documents of a first stage in its order" in text
    assert "(weight of the order in this model: 0.25)" in text
    said = "(a server of this model does not count the order of itself, so that is the student alone)"
    assert said in untrusting.text


@pytest.mark.parametrize(
    ("caption", "sign"), [("As served", "~"), ("Student alone", "@"), ("Student + first stage", "+")]
)
def test_the_results_table_holds_every_language_and_every_figure(page, caption, sign):
    results = made_results()
    names = ["bm25", "dense", "hybrid", "teacher"]
    names += [f"{student}{sign}{first}" for first in ("bm25", "hybrid") for student in STUDENTS]
    rows = {row[0]: row for row in page.table(caption)}
    found = results["sets"]["demo"]
    means = {name: own["nDCG@10"] for name, own in found["figures"].items()}
    by_language = {lang: group["figures"] for lang, group in found["groups"]["language"].items()}
    for label, figures in (by_language | {"Mean": means}).items():
        assert [cell.split()[0] for cell in rows[label][2:]] == [f"{100 * figures[name]:.1f}" for name in names]
    assert rows["p (Holm)"][2:] == [""] * 3 + ["0.210"] + ["< 0.001"] * 3 + ["0.210"] * 3
    assert rows["Tie rate"][2] == "12.5 %"


def test_domains_of_several_languages_stand_below_the_languages(in_words, tmp_path):
    results = made_results()
    found = results["sets"]["demo"]
    results["run"]["domains"] = {"cjk": ["ja"], "others": ["de", "ar"]}
    of_language = {lang: group["figures"] for lang, group in found["groups"]["language"].items()}
    found["groups"]["domain"] = {
        domain: {
            "questions": 20 * len(spoken),
            "figures": {name: sum(of_language[one][name] for one in spoken) / len(spoken) for name in found["figures"]},
        }
        for domain, spoken in results["run"]["domains"].items()
    }
    others = found["groups"]["domain"]["others"]["figures"]
    rows = Page(written(replace(in_words, results=results), tmp_path)).table("Student alone")
    names = [row[0] for row in rows]
    assert names.index("Mean") - names.index("cjk (ja)") == 2
    row = rows[names.index("others (de, ar)")]
    assert row[1] == "40"
    assert row[2] == f"{100 * others['bm25']:.1f}"
    assert row[8].endswith(f"+{100 * (others['merged@bm25'] - others['bm25']):.1f}")


def test_gains_and_losses_have_a_sign_and_a_shape_not_only_a_colour(page, source):
    rows = {row[0]: row for row in page.table("Student + first stage")}
    assert rows["de"][6:9] == ["37.0 ▼ −3.0*", "48.0 ▲ +8.0*", "50.1 ▲ +10.1*"]
    assert 'class="delta loss"' in source
    assert 'class="delta gain"' in source


def test_refused_steps_are_shown_with_their_reason(page):
    outcomes = [row[4] for row in page.table("Every merge")[1:]]
    assert outcomes == ["✗ refused: latin falls by 0.0123, more than 0.005", "not the best", "✓ accepted"]


def test_angles_are_shown_by_layer(page):
    assert [row[8] for row in page.table("Every merge")[1:]] == ["10: 80°, 11: 82°"] * 3


def test_the_way_over_t_is_plotted_for_each_domain(source):
    captions = re.findall(r"<figcaption>(From [^<]*)</figcaption>", source)
    assert captions == ["From latin: agreement on latin", "From latin: agreement on cjk"]
    assert source.count('aria-label="Agreement over t with cjk; 1 values refused"') == 2


@pytest.mark.parametrize(
    ("order", "said"),
    [(["latin", "cjk"], "is taken: latin → cjk."), (["general"], "is taken: general, since no merge was better.")],
)
def test_the_model_that_was_taken_is_named(in_words, tmp_path, order, said):
    text = Page(written(replace(in_words, merge_path={**in_words.merge_path, "order": order}), tmp_path)).text
    assert said in re.sub(r"\s+", " ", text)


def test_drops_are_counted_by_reason_and_a_sum_that_fails_is_marked(page):
    corpus, queries = page.table("Records at each stage")[1:]
    assert corpus == ["corpus", "15", "12", "3", "2 copy; 1 too short", "ar 4, de 4, ja 4"]
    assert queries == ["queries", "24", "20", "3", "3 copied ✗ does not add up", ""]


def test_each_writer_is_followed_from_its_queries_to_the_lists(page):
    assert page.table("What came of each writer")[1:] == [
        ["extractive", "14", "14", "0", "0 %", "nothing dropped"],
        ["qwen", "10", "6", "4", "40 %", "3 copied; 2 not found; 1 too short"],
    ]


def test_three_written_queries_per_language_and_no_given_ones(in_words, tmp_path):
    given = Query("g", "a given query", "de", "general", "d0", "given")
    text = Page(written(replace(in_words, queries={**in_words.queries, "g": given}), tmp_path)).text
    assert len(re.findall(r"query \d+", text)) == 9
    assert "a given query" not in text


def test_ten_questions_helped_and_ten_hurt_are_shown_with_ranks(page):
    helped, hurt = page.text.split("Helped most")[1].split("Hurt most")
    assert re.findall(r"Question (\d+)\?", helped) == [str(number) for number in range(29, 19, -1)]
    assert re.findall(r"Question (\d+)\?", hurt)[:10] == [str(number) for number in range(10)]
    assert "Question 15?" not in page.text
    assert "nDCG@10 50.0 → 85.0" in helped
    assert "Relevant document: rank 2 → rank 1" in helped


def hostile_report(text):
    """A run whose every text is a hostile one."""
    data = made_data()
    documents = {k: replace(v, text=text, language='"><script>') for k, v in data.documents.items()}
    return replace(
        data,
        title=text,
        documents=documents,
        queries={k: replace(v, text=text) for k, v in data.queries.items()},
        changed=made_changed(documents, text),
        curves={text: data.curves["general"]},
        manifests=[{"stage": text, "counts": {"in": 1, "kept": 0, "dropped": {text: 1}}, "settings": {"a": text}}],
        merge_path=data.merge_path
        | {"weight_curves": {"日本 $x$ " + text: [[0, 1], [1, 2]]}, "first_stage_weights": {}},
        results=data.results | {"run": data.results["run"] | {"recipe": text}},
    )


def test_hostile_text_stays_text(tmp_path):
    page = Page(written(hostile_report(HOSTILE), tmp_path))
    assert page.tags.count("script") == 1
    assert page.text.count(HOSTILE) > 20
    assert "日本 $x$" in page.text


def test_the_page_needs_nothing_from_outside(page, source):
    assert not re.search(r"https?:|@import|url\((?!#)", source)
    links = {value for _, name, value in page.attributes if name in {"src", "href"}}
    assert links
    assert all(link.startswith("#") for link in links)


def test_ids_are_unique_and_every_reference_has_its_target(page, source):
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    references = re.findall(r'(?:url\(|href=")#([^)"]+)', source)
    assert set(references) <= set(ids)


def test_tables_have_captions_and_headers_scopes(page, source):
    assert source.count("<caption>") == source.count("<table") == len(page.tables)
    assert re.search(r"<th(?![^>]*scope=)[^e]", source) is None


def test_the_same_data_gives_the_same_bytes(source, tmp_path):
    assert written(made_data(), tmp_path) == source


def test_matplotlib_leaves_no_colour_of_its_own(source):
    svg = "".join(re.findall(r'<svg class="plot".*?</svg>', source, flags=re.DOTALL))
    assert svg.count("<svg") == 11
    assert set(re.findall(r"(?:fill|stroke): ([^;\"]+)", svg)) - {"none"} <= {
        f"var(--{name})" for name in ("ink", "muted", "line", "gain", "loss", "second", "paper")
    }


def test_a_run_without_an_evaluation_still_has_a_report(tmp_path):
    bare = replace(made_data(), results={}, changed=[], merge_path={}, lists=[])
    page = Page(written(bare, tmp_path))
    assert "This run was not evaluated" in page.text
    assert [heading for heading in page.headings if heading != "What it cost"] == [
        "How the students learnt",
        "What was kept and what was dropped",
        "Queries it wrote",
        "What each stage cost",
        "Where the models come from",
        "Run it again",
        "Versions and settings",
    ]


@pytest.mark.parametrize("evaluated", [True, False])
def test_what_a_stage_warned_of_stands_with_what_speaks_against_the_model(in_words, tmp_path, evaluated):
    data = in_words if evaluated else replace(in_words, results={}, changed=[])
    first, *others = data.manifests
    warned = {**first, "warnings": ["domain <a>: few", "domain b: few"]}
    text = Page(written(replace(data, manifests=[warned, *others]), tmp_path)).text
    assert text.index("Domain <a>: few.") < text.index("Domain b: few.") < text.index("What it cost")


def test_a_run_with_nothing_at_all_still_has_a_page(tmp_path):
    assert Page(written(ReportData("Nothing"), tmp_path)).headings == []


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_enough_contrast_in_both_themes(source, theme):
    variables = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", source.split(":root {")[theme + 1].split("}")[0]))

    def luminance(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for text in ("ink", "muted", "gain", "loss", "second"):
        for ground in ("paper", "card"):
            light, dark = sorted((luminance(variables[text]), luminance(variables[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)

    # Figures in the hottest cell of a heat map, and matches in a text.
    shares = re.findall(r"var\(--gain\) (?:calc\(var\(--heat\) \* )?(\d+)%", source)
    assert len(shares) == 2
    for share in shares:
        mixed = [
            round((int(share) * int(variables["gain"][i : i + 2], 16) + (100 - int(share)) * int(paper, 16)) / 100)
            for i, paper in ((i, variables["paper"][i : i + 2]) for i in (1, 3, 5))
        ]
        light, dark = sorted(
            (luminance(variables["ink"]), luminance("#{:02x}{:02x}{:02x}".format(*mixed))), reverse=True
        )
        assert (light + 0.05) / (dark + 0.05) >= 4.5, share


@pytest.mark.parametrize(
    ("difference", "shown"), [(0.081, "+8.1"), (-0.0064, "−0.6"), (0.0004, "0.0"), (-0.0004, "0.0"), (0.0, "0.0")]
)
def test_a_difference_has_a_sign_unless_it_rounds_to_nothing(difference, shown):
    assert signed(difference) == shown


def test_durations_sizes_and_p_values_read_as_words():
    assert [duration(s) for s in (0.44, 42, 725, 11520)] == ["0.4 s", "42 s", "12 min 5 s", "3 h 12 min"]
    assert [size(b) for b in (512 * 2**20, 5.25 * 2**30)] == ["512 MiB", "5.2 GiB"]
    assert [p_value(p).split() for p in (0.0004, 0.0341)] == [["p", "<", "0.001"], ["p", "=", "0.034"]]
