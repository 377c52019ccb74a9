"""The page for grading as a person uses it: Chromium, the keyboard alone, a real server."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tamis.labelling.grade_log import CANNOT_TELL, LOG, read_entries
from tamis.labelling.pools import Pools
from tests.labelling.made_pools import HOSTILE, made_pools, write_made
from tests.labelling.served import Grader, grading_page
from tests.test_pages_in_a_browser import BROWSER

WAIT = 10_000  # milliseconds
expect.set_options(timeout=WAIT)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium here: the page is not used in a real browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@contextmanager
def opened(browser: Browser, folder: Path, **how: Any) -> Iterator[tuple[Page, Grader]]:
    with grading_page(folder) as grader:
        context = browser.new_context(**how)
        context.set_default_timeout(WAIT)
        page, wrong = context.new_page(), []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(error.message))
        page.on("request", lambda request: wrong.extend([request.url] * (not request.url.startswith(grader.url))))
        page.goto(grader.url)
        yield page, grader
        expect(page.locator("[aria-busy=true]")).to_have_count(0)  # every grade has arrived
        context.close()
        assert [line for line in wrong if "Failed to load resource" not in line] == []


def sit(page: Page, name: str = "Ann") -> None:
    page.get_by_label("Your name").fill(name)
    page.keyboard.press("Enter")
    expect(page.locator(".passage").first).to_be_visible()


def told(folder: Path) -> list[tuple[str, str, str, int | str]]:
    return [(one.person, one.query_id, one.doc_id, one.grade) for one in read_entries(folder / LOG)]


def test_two_questions_by_the_keyboard_alone(browser: Browser, tmp_path: Path):
    folder = write_made(tmp_path, made_pools(2, 3))
    with opened(browser, folder) as (page, grader):
        page.keyboard.type("Ann")  # the field has the focus
        page.keyboard.press("Enter")
        expect(page.locator("#query")).to_have_text("How do I install a package?")
        expect(page.locator(".passage.on")).to_contain_text("Page 0")
        for key in "20":
            page.keyboard.press(key)
        expect(page.locator(".passage.on")).to_contain_text("Page 2")
        page.keyboard.press("u")  # the 0 was wrong
        expect(page.locator("#status")).to_have_text("Taken back.")
        expect(page.locator(".passage.on")).to_contain_text("Page 1")
        page.keyboard.press("1")
        page.keyboard.press("3")
        expect(page.locator("#query")).to_have_text("Where are kernel modules kept?")
        page.keyboard.press("ArrowDown")  # the second passage first
        page.keyboard.press("0")
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#query")).to_have_text("How do I install a package?")
        page.keyboard.press("n")
        expect(page.locator(".passage.on")).to_contain_text("Page 1")
        for key in "12":
            page.keyboard.press(key)
        expect(page.locator("#finished")).to_be_visible()
        expect(page.locator("#left")).to_contain_text("6 of 6 passages")
        expect(page.locator("#progress")).to_have_attribute("aria-busy", "false")
        assert grader.desk.grading.judgements() == {"q0": {"d0": 2, "d1": 1}, "q1": {"d1": 1, "d2": 0, "d3": 2}}
    assert [one[1:] for one in told(folder)] == [
        ("q0", "d0", 2),
        ("q0", "d1", 0),
        ("q0", "d1", "taken back"),
        ("q0", "d1", 1),
        ("q0", "d2", CANNOT_TELL),
        ("q1", "d2", 0),
        ("q1", "d1", 1),
        ("q1", "d3", 2),
    ]


def test_left_and_resumed_by_two_people_who_do_not_see_each_other(browser: Browser, tmp_path: Path):
    folder = write_made(tmp_path, made_pools(2, 2))
    with opened(browser, folder) as (page, _):
        sit(page)
        page.keyboard.press("2")
        expect(page.locator("#place")).to_have_text("Question 1 of 2, 1 of 2 graded")
        page.reload()
        expect(page.locator(".passage.on")).to_contain_text("Page 1")  # goes on where it was, without a word
        expect(page.locator(".passage").first.get_by_role("button", name="Answers it")).to_have_attribute(
            "aria-pressed", "true"
        )
        page.get_by_role("button", name="Someone else").click()
        sit(page, "Bob")
        expect(page.locator("[aria-pressed=true]")).to_have_count(0)
        page.locator(".passage").nth(1).get_by_role("button", name="Not relevant").click()
        expect(page.locator(".passage.on")).to_contain_text("Page 0")
        page.get_by_role("button", name="Someone else").click()
        page.get_by_role("button", name="Ann", exact=True).click()
        expect(page.locator("#place")).to_have_text("Question 1 of 2, 1 of 2 graded")
    assert told(folder) == [("Ann", "q0", "d0", 2), ("Bob", "q0", "d1", 0)]


HURRIED = "const later = setTimeout; window.setTimeout = (what, wait) => later(what, wait / 8);"
"""What the page waits for two seconds takes a quarter of one."""


def test_grades_given_while_the_server_is_gone_arrive_when_it_is_back(browser: Browser, tmp_path: Path):
    folder = write_made(tmp_path, made_pools(1, 4))
    with opened(browser, folder) as (page, _):
        page.add_init_script(HURRIED)
        page.reload()
        sit(page)
        page.keyboard.press("2")
        page.route("**/grade", lambda route: route.abort())
        page.keyboard.press("1")
        page.keyboard.press("0")
        expect(page.locator("#status")).to_contain_text("not kept yet: The command in the terminal does not answer")
        page.unroute("**/grade")
        expect(page.locator("#status")).to_have_text("Everything is kept again.")
        page.keyboard.press("2")
        expect(page.locator("#finished")).to_be_visible()
        page.wait_for_function("document.querySelector('#left').textContent.includes('4 of 4')")
    assert [one[2:] for one in told(folder)] == [("d0", 2), ("d1", 1), ("d2", 0), ("d3", 2)]


def hostile() -> Pools:
    pools = made_pools(1, 3)
    passages = {
        one: replace(passage, title=HOSTILE, body=f"{HOSTILE} package") for one, passage in pools.passages.items()
    }
    return replace(
        pools, passages=passages, questions={"q0": pools.questions["q0"]._replace(text=f"{HOSTILE} package")}
    )


def test_texts_stay_text(browser: Browser, tmp_path: Path):
    with opened(browser, write_made(tmp_path, hostile())) as (page, _):
        sit(page, HOSTILE[:60])
        assert page.locator(".passage .text").first.inner_text() == f"{HOSTILE} package"
        assert page.locator(".passage h3").first.inner_text() == HOSTILE
        assert page.locator("#query").inner_text() == f"{HOSTILE} package"
        assert page.locator("main script, main img, header img").count() == 0
        assert "package" in page.locator(".passage mark").all_inner_texts()
        assert page.title() == "tamis grading"


def test_a_long_passage_is_shown_where_it_matches_and_whole_on_demand(browser: Browser, tmp_path: Path):
    pools = made_pools(1, 2)
    long = f"{'nothing here. ' * 200}Install a package. {'more of it. ' * 200}".strip()
    pools = replace(pools, passages={one: replace(passage, body=long) for one, passage in pools.passages.items()})
    with opened(browser, write_made(tmp_path, pools)) as (page, _):
        sit(page)
        text = page.locator(".passage .text").first
        assert "Install a package." in text.inner_text()
        assert len(text.inner_text()) < 950
        page.keyboard.press("w")
        assert text.inner_text() == long
        page.keyboard.press("w")
        assert len(text.inner_text()) < 950


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_it_fits_is_accessible_and_has_both_schemes(browser: Browser, tmp_path: Path, width: int, scheme: str):
    pools = made_pools(2, 12, f" {'word' * 60} https://{'x' * 200}")
    how: dict[str, Any] = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    with opened(browser, write_made(tmp_path, pools), **how) as (page, _):
        assert violations(page) == []
        sit(page, "N" * 60)
        page.keyboard.press("2")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        beyond = page.evaluate(
            "[...document.querySelectorAll('.page *')].filter((one) => one.getBoundingClientRect().right > innerWidth)"
            ".map((one) => one.outerHTML.slice(0, 100))"
        )
        assert beyond == []
        assert violations(page) == []
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) == (scheme == "dark")


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


@pytest.mark.slow
def test_two_thousand_questions_of_thirty_passages_without_a_pause(browser: Browser, tmp_path: Path):
    """From a key to what it brings, next question included: below 100 ms in all but the slowest hundredth."""
    pools = made_pools(2000, 30, " ".join(["", *("and so on" for _ in range(100))]))
    with opened(browser, write_made(tmp_path, pools)) as (page, grader):
        sit(page)
        waits = page.evaluate(
            """async () => {
              const waits = [];
              for (let count = 0; count < 300; count++) {
                const [query, current] = [document.querySelector("#query"), document.querySelector(".on")];
                const before = [query.textContent, current];
                const begun = performance.now();
                dispatchEvent(new KeyboardEvent("keydown", { key: String(count % 3) }));
                while (document.querySelector(".on") === before[1]) await new Promise((resolve) => setTimeout(resolve));
                waits.push(performance.now() - begun);
                await new Promise((resolve) => setTimeout(resolve, 60)); // faster than anybody reads
              }
              return waits;
            }"""
        )
        page.wait_for_function("document.querySelector('#left').textContent.startsWith('300 of')")
        assert sorted(waits)[-3] < 100, sorted(waits)[-12:]
        assert sum(grader.desk.grading.sheet("Ann").per_question.values()) == 300
