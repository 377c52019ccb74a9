"""The playground as a person uses it: Chromium, real clicks and keys, a real server with tiny models."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tamis import Reranker
from tamis.report.highlight import matching_part
from tests.conftest import TOPICS, write_beir
from tests.serving.running import Running, served
from tests.test_pages_in_a_browser import BROWSER

QUERY = "How do I install a package?"
DOCUMENTS = [answer for _, answer in TOPICS["en"]]
WAIT = 10_000  # milliseconds
SCRIPT = '<script>document.title = "taken"</script><img src=x onerror="document.title = \'taken\'">'

MATCHED = [
    (QUERY, DOCUMENTS[0]),
    ("Die STRASSE zum ﬁnalen Café", "straße, Straßenbahn, finalen? cafe café CAFÉ."),
    ("パッケージの管理", "パッケージは管理者がインストールします。package管理"),
    ("软件包管理", "管理软件和软件包的工具"),
    ("패키지를 설치", "패키지 설치는 쉽다"),
    ("การติดตั้งแพ็กเกจ", "ติดตั้งแพ็กเกจด้วยคำสั่ง"),
    ("पैकेज कैसे", "पैकेज को कैसे स्थापित करें"),
    ("كيف أثبّت الحزمة", "تثبيت الحزمة سهل، كيف؟"),
    ("Как установить пакет?", "Установить пакет можно так: пакетом."),
    ("λόγος", "ΛΌΓΟΣ και λόγος"),
    ("a_b 2.5", "a b_c 2 5.5 25"),
]
"""Queries, and texts that hold some of their words."""

expect.set_options(timeout=WAIT)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium here: the playground is not used in a real browser"
)


@dataclass
class Playground:
    """The page as it is shown.

    Attributes:
        page: The browser's.
        server: Behind it.
        wrong: What was written to the console or raised by the page's script.
    """

    page: Page
    server: Running
    wrong: list[str] = field(default_factory=list)

    def fill(self, query: str, documents: str) -> None:
        if self.page.locator("#sources").is_visible():
            self.page.get_by_role("radio", name="Paste").click()
        self.page.get_by_label("Query", exact=True).fill(query)
        self.page.get_by_label("Documents", exact=True).fill(documents)

    def rerank(self) -> None:
        """Click, and wait until there is an answer."""
        with self.page.expect_response("**/v2/rerank"):
            self.page.get_by_role("button", name="Rerank").click()
        expect(self.page.locator("#orders")).to_have_attribute("aria-busy", "false")

    def ask(self, query: str, documents: list[str]) -> None:
        self.fill(query, "\n".join(documents))
        self.rerank()

    def column(self, name: str) -> list[dict[str, str]]:
        """What stands in the cards of a column: `given`, `first` or `second`."""
        parts = ("place", "score", "move", "was", "text")
        return self.page.locator(f".{name} .document").evaluate_all(
            "(cards, parts) => cards.map((card) => Object.fromEntries("
            "parts.map((part) => [part, card.querySelector('.' + part)?.textContent ?? ''])))",
            list(parts),
        )

    def status(self) -> str:
        return self.page.locator("#status").inner_text()

    def clipboard(self) -> str:
        found: str = self.page.evaluate("navigator.clipboard.readText()")
        return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP elsewhere.test 127.0.0.1"]
        started = driver.chromium.launch(executable_path=BROWSER, args=flags)
        yield started
        started.close()


@pytest.fixture(scope="module")
def server(stock_folder: Path, warm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = write_beir(tmp_path_factory.mktemp("playground") / "faq")
    with served({"stock": stock_folder, "warm": warm_folder}, on=folder, local=False) as running:  # by other names, too
        yield running


@contextmanager
def opened(browser: Browser, server: Running, **how: Any) -> Iterator[Playground]:
    context = browser.new_context(**how)
    context.set_default_timeout(WAIT)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    shown = Playground(page, server)
    page.on("console", lambda message: shown.wrong.append(message.text))
    page.on("pageerror", lambda error: shown.wrong.append(error.message))
    page.on("request", lambda request: shown.wrong.extend([request.url] * (not request.url.startswith(server.url))))
    page.goto(server.url)
    try:
        yield shown
    finally:
        context.close()


@pytest.fixture
def playground(browser: Browser, server: Running) -> Iterator[Playground]:
    with opened(browser, server) as shown:
        expect(shown.page.get_by_label("Model", exact=True)).to_have_value("stock")
        expect(shown.page.locator("#sources")).to_be_visible()
        yield shown
    assert shown.wrong == []


def expected(folder: Path, query: str, documents: list[str], bm25: list[float] | None = None) -> list[dict[str, str]]:
    """What a model's column has to hold, from the offline reranker."""
    found = []
    first = None if bm25 is None else ("bm25", bm25)
    for place, hit in enumerate(Reranker(folder).rank(query, documents, first_stage=first)):
        index = hit["corpus_id"]
        moved = f"▲ up {index - place}" if place < index else f"▼ down {place - index}" if place > index else "stayed"
        found.append(
            {
                "place": str(place + 1),
                "score": f"{hit['score']:.3f}",
                "move": moved,
                "was": "" if place == index else f"was {index + 1}",
                "text": documents[index],
            }
        )
    return found


def test_both_orders_stand_side_by_side_with_moves_and_scores(playground: Playground, stock_folder: Path):
    documents = DOCUMENTS[::-1]
    playground.ask(QUERY, documents)
    assert [card["text"] for card in playground.column("given")] == documents
    wanted = expected(stock_folder, QUERY, documents)
    assert playground.column("first") == wanted
    assert len({card["move"].split()[0] for card in wanted}) > 1  # some went up, some down
    boxes = [playground.page.locator(f".{name}").bounding_box() for name in ("given", "first")]
    assert boxes[0]["x"] + boxes[0]["width"] < boxes[1]["x"]
    moved = sum(card["move"] != "stayed" for card in wanted)
    first = documents.index(wanted[0]["text"]) + 1
    assert first > 1
    assert playground.status() == f"stock: {moved} of 10 documents moved; number {first} came first."
    assert re.search(r"\d+(\.\d)? m?s · in the server \d+", playground.page.locator(".first .head").inner_text())


def test_lines_join_each_document_with_its_place(playground: Playground):
    playground.page.get_by_label("Compare with").select_option("warm")
    playground.ask(QUERY, DOCUMENTS)
    ends = playground.page.evaluate(
        """() => {
          const box = document.querySelector("#moves").getBoundingClientRect();
          const given = [...document.querySelectorAll(".given .document")];
          return [...document.querySelectorAll("#moves g")].map((line, number) => {
            const path = line.querySelector("path");
            const [from, to] = [path.getPointAtLength(0), path.getPointAtLength(path.getTotalLength())];
            const near = (point, card) => {
              const its = card.getBoundingClientRect();
              const [x, y] = [point.x + box.left, point.y + box.top];
              return y > its.top && y < its.bottom && Math.min(Math.abs(x - its.left), Math.abs(x - its.right)) < 2;
            };
            const index = line.getAttribute("data-index");
            const order = document.querySelector(number < given.length ? ".first" : ".second");
            return near(from, given[index]) && near(to, order.querySelector(`[data-index="${index}"]`));
          });
        }"""
    )
    assert ends == [True] * 2 * len(DOCUMENTS)


def test_two_models_pull_away_from_the_given_order(playground: Playground, stock_folder: Path, warm_folder: Path):
    playground.page.get_by_label("Compare with").select_option("warm")
    playground.ask(QUERY, DOCUMENTS)
    assert playground.column("first") == expected(stock_folder, QUERY, DOCUMENTS)
    assert playground.column("second") == expected(warm_folder, QUERY, DOCUMENTS)
    left, middle, right = (
        playground.page.locator(f".{name}").bounding_box()["x"] for name in ("first", "given", "second")
    )
    assert left < middle < right
    playground.page.get_by_label("Compare with").select_option("no other")
    playground.rerank()
    assert playground.column("second") == []


def test_raw_logits_on_demand(playground: Playground, stock_folder: Path):
    playground.ask(QUERY, DOCUMENTS)
    with playground.page.expect_response("**/v2/rerank"):
        playground.page.get_by_label("Raw logits instead of bounded scores").check()
    expect(playground.page.locator("#orders")).to_have_attribute("aria-busy", "false")
    logits = Reranker(stock_folder).score_pairs([(QUERY, text) for text in DOCUMENTS]).logits
    shown = [float(card["score"].replace("−", "-")) for card in playground.column("first")]
    assert shown == pytest.approx(np.sort(logits)[::-1], abs=6e-4)


def test_it_works_by_keyboard(playground: Playground, stock_folder: Path):
    page = playground.page
    page.get_by_role("radio", name="Paste").click()
    page.get_by_label("Query", exact=True).focus()
    page.keyboard.type(QUERY)
    page.keyboard.press("Tab")  # where documents come from: one stop, changed by arrows
    page.keyboard.press("Tab")
    page.keyboard.insert_text("\n".join(DOCUMENTS[:4]))
    with page.expect_response("**/v2/rerank"):
        page.keyboard.press("Control+Enter")
    expect(page.locator(".first .document")).to_have_count(4)
    page.get_by_label("Query", exact=True).focus()
    page.keyboard.type(" now")
    with page.expect_response("**/v2/rerank") as answered:
        page.keyboard.press("Enter")
    assert answered.value.request.post_data_json["query"] == f"{QUERY} now"
    expect(page.locator("#orders")).to_have_attribute("aria-busy", "false")


def test_documents_are_lines_or_what_blank_lines_part(playground: Playground):
    playground.fill("a", "one\n two \n\n")
    assert playground.page.locator("#count").inner_text() == "2 documents, one a line"
    playground.fill("a", "one\ntwo\n \nthree\n\n\nfour")
    assert playground.page.locator("#count").inner_text() == "3 documents, with blank lines between them"
    with playground.page.expect_request("**/v2/rerank") as asked:
        playground.rerank()
    assert asked.value.post_data_json == {
        "model": "stock",
        "query": "a",
        "documents": ["one\ntwo", "three", "four"],
        "first_stage": "none",
    }


def test_what_is_pasted_stays_text(playground: Playground):
    playground.page.get_by_label("Compare with").select_option("warm")
    playground.ask(SCRIPT, [SCRIPT, "a package", "&lt;b&gt;"])
    assert [card["text"] for card in playground.column("given")] == [SCRIPT, "a package", "&lt;b&gt;"]
    assert sorted(card["text"] for card in playground.column("second")) == sorted([SCRIPT, "a package", "&lt;b&gt;"])
    assert playground.page.title() == "tamis playground"
    assert playground.page.locator("#orders script, #orders img").count() == 0


def test_marks_are_those_of_the_reports(playground: Playground):
    for query, text in MATCHED:
        playground.ask(query, [text])
        pieces = matching_part(text, query, frozenset(), 10_000)
        marks = playground.page.locator(".first mark").all_inner_texts()
        assert marks == [one.text for one in pieces if one.matched], query
        assert playground.column("first")[0]["text"] == text


def test_a_long_document_shows_where_it_matches_and_is_told_as_cut(playground: Playground):
    long = f"{'nothing here. ' * 40}\nA package is installed. {'more of it. ' * 40}".strip()
    playground.fill("a package", f"short\n\n{long}")
    playground.rerank()
    card = playground.page.locator(".first .document", has=playground.page.get_by_role("button"))
    assert card.locator(".cut").inner_text() == "read in part"
    assert playground.page.locator(".first .cut").count() == 1
    shown = card.locator(".text").inner_text()
    assert shown.startswith("… ")
    assert "A package is installed." in shown
    assert len(shown) < 180
    card.get_by_role("button").click()
    assert card.locator(".text").text_content() == long
    card.get_by_role("button", name="Less").click()
    assert card.locator(".text").inner_text() == shown


def test_a_folders_question_shows_both_orders_by_one_click(playground: Playground, stock_folder: Path):
    page = playground.page
    expect(page.locator("#offered")).to_have_text("6 of 20 questions")
    page.get_by_label("Questions of the folder").fill("kernelmodule")
    expect(page.locator("#questions button")).to_have_count(1)
    with page.expect_response("**/v2/rerank"):
        page.get_by_role("button", name="Wo liegen die Kernelmodule?").click()
    expect(page.locator("#orders")).to_have_attribute("aria-busy", "false")
    query = page.get_by_label("Query", exact=True).input_value()
    assert query == "Wo liegen die Kernelmodule?"
    found = playground.server.client.get("/playground/candidates", params={"query": query}).json()["documents"]
    given = playground.column("given")
    assert [card["text"] for card in given] == [one["text"] for one in found]
    assert [card["score"] for card in given] == [f"{one['score']:.2f}" for one in found]
    assert page.get_by_role("heading", name="BM25 on faq").is_visible()
    texts, scores = [one["text"] for one in found], [one["score"] for one in found]
    assert playground.column("first") == expected(stock_folder, query, texts, scores)  # it has a weight for BM25
    page.get_by_label("Query", exact=True).fill("xylophone")
    page.get_by_role("button", name="Rerank").click()
    expect(page.locator("#status")).to_have_text("No document of faq holds a word of this query.")


def test_copied_commands_are_the_request_and_run(
    browser: Browser, stock_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    documents = [*DOCUMENTS[:3], 'it\'s a "package" of $HOME\\n `x` JSON', 'Two\n"lines"', "ﬁn — \u2028 ü"]
    with served({"m": stock_folder}, keys=("one",)) as server, opened(browser, server) as playground:
        page = playground.page
        page.get_by_label("API key").fill("one")
        page.get_by_role("button", name="Use").click()
        expect(page.get_by_label("Model", exact=True)).to_have_value("m")
        playground.fill('What\'s "this"?', "\n\n".join(documents))
        with page.expect_response("**/v2/rerank") as answered:
            page.get_by_role("button", name="Rerank").click()
        results = answered.value.json()["results"]
        monkeypatch.setenv("TAMIS_API_KEY", "one")
        page.get_by_role("button", name="Copy the request to m as curl").click()
        expect(page.locator("#status")).to_contain_text("Copied as curl")
        command = playground.clipboard()
        assert '"one"' not in command
        done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=30, check=True)
        found = json.loads(done.stdout)["results"]
        assert [one["index"] for one in found] == [one["index"] for one in results]
        assert [one["relevance_score"] for one in found] == pytest.approx([one["relevance_score"] for one in results])
        page.get_by_role("button", name="Copy the request to m as Python").click()
        expect(page.locator("#status")).to_contain_text("Copied as Python")
        scope: dict[str, Any] = {}
        exec(compile(playground.clipboard(), "copied", "exec"), scope)
        assert scope["documents"] == answered.value.request.post_data_json["documents"]
        assert scope["documents"] == documents
        printed = [
            line.split("  ")[0] for line in capsys.readouterr().out.splitlines() if re.match(r"\d\.\d{3}  ", line)
        ]
        assert printed == [f"{one['relevance_score']:.3f}" for one in results]
        assert playground.wrong == []


def test_it_copies_where_the_browser_has_no_clipboard_for_pages(browser: Browser, server: Running):
    elsewhere = Running(server.url.replace("127.0.0.1", "elsewhere.test"), server.service, server.server)
    with opened(browser, elsewhere) as playground:
        page = playground.page
        expect(page.locator("#sources")).to_be_visible()
        assert page.evaluate("navigator.clipboard") is None  # neither https nor this machine
        playground.ask(QUERY, DOCUMENTS)
        page.get_by_role("button", name="Copy the request to stock as curl").click()
        expect(page.locator("#status")).to_have_text("Copied as curl.")
        page.get_by_label("Documents", exact=True).fill("")
        page.get_by_label("Documents", exact=True).press("Control+V")
        pasted = page.get_by_label("Documents", exact=True).input_value()
        assert pasted.startswith(f"curl {elsewhere.url}/v2/rerank ")
        assert playground.wrong == []


def test_a_key_is_asked_for_and_kept_nowhere(browser: Browser, stock_folder: Path):
    with served({"m": stock_folder}, keys=("one",)) as server, opened(browser, server) as playground:
        page = playground.page
        playground.fill("a", "b")
        page.get_by_role("button", name="Rerank").click()
        expect(page.locator("#status")).to_have_text("Give a key first.")
        assert playground.wrong == []
        page.get_by_label("API key").fill("two")
        page.keyboard.press("Enter")
        expect(page.locator("#status")).to_have_text("The key is missing or wrong. (401)")
        page.get_by_label("API key").fill("one")
        page.keyboard.press("Enter")
        expect(page.locator("#status")).to_have_text("The key fits.")
        playground.rerank()
        assert len(playground.column("first")) == 1
        assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
        page.reload()
        expect(page.get_by_label("API key")).to_have_value("")


def test_refusals_are_one_readable_line(browser: Browser, server: Running):
    with opened(browser, server) as playground, ExitStack() as afterwards:
        page, engine = playground.page, server.service.engines["stock"]
        expect(page.locator("#sources")).to_be_visible()

        def change(of: object, **values: Any) -> None:
            for name, value in values.items():
                afterwards.callback(setattr, of, name, getattr(of, name))
                setattr(of, name, value)

        def told() -> str:
            playground.ask(QUERY, DOCUMENTS)
            assert page.locator("#status").get_attribute("aria-live") == "polite"
            assert playground.column("first") == []
            return playground.status()

        change(engine, most_pairs=5)
        assert re.fullmatch(
            r"The server is busy: 0 pairs wait already, at most 5 may; try again later\. "
            r"Try again in \d+ seconds?\. \(429\)",
            told(),
        )
        change(server.service, limits=replace(server.service.limits, documents=3))
        assert told() == "The server does not take this: 10 documents, at most 3 are taken. (422)"
        change(server.service, draining=True)
        assert told() == "The server is stopping: the server is about to stop. Try again in 1 second. (503)"
        page.get_by_label("Query", exact=True).fill(" ")
        page.get_by_role("button", name="Rerank").click()
        expect(page.locator("#status")).to_have_text("Write a query first.")
        page.route("**/v2/rerank", lambda route: route.abort())
        page.get_by_label("Query", exact=True).fill("a")
        page.get_by_role("button", name="Rerank").click()
        expect(page.locator("#status")).to_have_text("The server does not answer; is it still running?")
        assert all(line.startswith("Failed to load resource") for line in playground.wrong)


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (360, "dark"),
        (1440, "light"),
        *(pytest.param(*other, marks=pytest.mark.slow) for other in ((360, "light"), (1440, "dark"))),
    ],
)
def test_it_fits_is_accessible_and_has_both_schemes(browser: Browser, server: Running, width: int, scheme: str):
    how: dict[str, Any] = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    with opened(browser, server, **how) as playground:
        page = playground.page
        expect(page.locator("#sources")).to_be_visible()
        overflows(page, width)
        assert violations(page) == []
        page.get_by_label("Compare with").select_option("warm")
        playground.ask("word" * 60, ["a" * 300, *DOCUMENTS, f"package https://{'x' * 200}"])
        assert len(playground.column("second")) == 12
        overflows(page, width)
        assert violations(page) == []
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) == (scheme == "dark")
        assert playground.wrong == []


def overflows(page: Page, width: int) -> None:
    assert page.evaluate("innerWidth") == width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = page.evaluate(
        "[...document.querySelectorAll('.page *')].filter((one) => one.getBoundingClientRect().right > innerWidth)"
        ".map((one) => one.outerHTML.slice(0, 100))"
    )
    assert beyond == []


def violations(page: Page) -> list[str]:
    """What axe finds wrong for readers who do not see, or see little."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


def test_a_long_document_is_shown_by_its_best_part_and_whole_at_a_click(playground: Playground) -> None:
    long = f"{'Something else is said here. ' * 40}{DOCUMENTS[0]}{' And here.' * 40}"
    playground.ask(QUERY, [long])
    card = playground.page.locator("li.document").first
    text = card.locator(".text")
    assert len(text.inner_text()) < len(long)
    card.get_by_role("button", name="Whole text").click()
    expect(card.get_by_role("button", name="Less")).to_have_attribute("aria-expanded", "true")
    assert text.inner_text() == long
    card.get_by_role("button", name="Less").click()
    expect(card.get_by_role("button", name="Whole text")).to_have_attribute("aria-expanded", "false")
    assert len(text.inner_text()) < len(long)
