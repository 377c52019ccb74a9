"""Both reports in a real browser: no error, every heading sorts, nothing is wider than the window."""

import html
import json
import re
import shutil
import subprocess
from collections import Counter

import pytest

from tamis.report.page import ReportData, write_report
from tests.evaluation.test_report import made_changed, made_results
from tests.report.test_report import hostile_report, made_data

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=20000",
    "--window-size=1500,900",
)
WIDTHS = (360, 1440)
SCHEMES = ("light", "dark")

# First of all scripts of the page: notes what goes wrong, and tells the frame around it what it found.
PROBE = """<script>
const wrong = [];
addEventListener("error", (event) => wrong.push(event.message));
document.addEventListener("securitypolicyviolation", (event) => wrong.push(event.violatedDirective));
addEventListener("load", () => {
  document.querySelectorAll("details").forEach((one) => (one.open = true));
  const scrolled = (one) => one.closest(".scroll, pre, .samples");
  const beyond = [...document.body.querySelectorAll("*")].filter((one) =>
    one.getBoundingClientRect().right > innerWidth && !scrolled(one)).map((one) => one.outerHTML.slice(0, 200));
  const wide = [document.documentElement.scrollWidth, document.body.scrollWidth];
  const skip = document.querySelector(".skip");
  skip.focus();
  const seen = skip.getBoundingClientRect();
  const tables = [...document.querySelectorAll("table.sortable")].map((table) => {
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    const column = (place) => [...table.tBodies[0].rows].map((row) => {
      const cell = row.cells[place];
      return cell.dataset.value ?? cell.textContent.trim();
    });
    const clicked = heads.map((head, place) => {
      const button = head.querySelector("button");
      button.focus();
      const focused = document.activeElement === button;
      const before = column(place);
      const clicks = [1, 2].map(() => {
        button.click();
        return [head.getAttribute("aria-sort"), column(place), table.querySelectorAll("[aria-sort]").length];
      });
      return { name: button.textContent, focused, before, clicks };
    });
    return { caption: table.caption.textContent, clicked };
  });
  const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((one) => Number(one.tagName[1]));
  const nameless = [...document.querySelectorAll("svg, pre, .scroll, nav")].filter((one) => !one.ariaLabel).length;
  const paper = getComputedStyle(document.body).backgroundColor;
  const skips = seen.top >= 0 && document.querySelector(skip.getAttribute("href")) !== null;
  parent.postMessage({ inner: innerWidth, wide, beyond, skips, tables, levels, nameless, paper, wrong }, "*");
});
</script>"""

COLLECTOR = """<pre id="found"></pre><script>
const found = {};
addEventListener("message", (event) => {
  const frame = [...document.querySelectorAll("iframe")].find((one) => one.contentWindow === event.source);
  found[frame.title] = event.data;
  document.querySelector("#found").textContent = JSON.stringify(found);
});
</script>"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium here: the pages are not shown in a real browser")


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What the browser printed, and what each page found of itself, by page, width and colour scheme."""
    folder = tmp_path_factory.mktemp("pages")
    write_report(made_data(), folder / "run.html")
    measured = ReportData("Two sets", made_results((0.2, -0.1)), made_changed(("set0", "set1")))
    write_report(measured, folder / "evaluation.html")
    frames = []
    for name in ("run", "evaluation"):
        page = (folder / f"{name}.html").read_text(encoding="utf-8").replace("<head>", f"<head>{PROBE}", 1)
        for width, scheme in zip(WIDTHS, SCHEMES, strict=True):
            style = f"width: {width}px; height: 800px; border: 0; color-scheme: {scheme}"
            frames.append(f'<iframe title="{name} {width}" style="{style}" srcdoc="{html.escape(page)}"></iframe>')
    (folder / "all.html").write_text(
        f'<!doctype html><meta charset="utf-8">{COLLECTOR}{"".join(frames)}', encoding="utf-8"
    )
    command = [BROWSER, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", (folder / "all.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True)
    said = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    return done.stderr, json.loads(html.unescape(said[1]))


TAKING = """<script>document.title = "taken"</script><img src=x onerror="document.title = 'taken'">"""
"""What takes a page over where a text of it is not escaped."""


@pytest.mark.filterwarnings("ignore:constrained_layout")  # of labels as long as this
@pytest.mark.parametrize("name", ["run", "evaluation"])
def test_hostile_texts_run_nothing_in_a_browser(tmp_path, name):
    results = made_results(notes=(TAKING,))
    evaluation = ReportData(TAKING, results, made_changed(question=TAKING))
    file = tmp_path / "page.html"
    write_report(hostile_report(TAKING) if name == "run" else evaluation, file)
    command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True)
    (title,) = re.findall(r"<title>(.*?)</title>", done.stdout, flags=re.DOTALL)
    assert html.unescape(title) != "taken"
    assert html.escape(TAKING, quote=False) in done.stdout
    assert "<img" not in done.stdout
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []


@pytest.fixture(params=[f"{name} {width}" for name in ("run", "evaluation") for width in WIDTHS])
def page(request, shown):
    return shown[1][request.param]


def test_no_page_writes_to_the_console(shown):
    assert [line for line in shown[0].splitlines() if "CONSOLE" in line] == []
    assert len(shown[1]) == 4


def test_no_script_fails_and_no_rule_of_the_page_is_broken(page):
    assert page["wrong"] == []


def test_nothing_is_wider_than_the_window(page):
    assert page["inner"] in WIDTHS
    assert page["beyond"] == []
    assert max(page["wide"]) <= page["inner"]


def test_every_heading_of_every_table_sorts(page):
    assert len(page["tables"]) >= 5
    for table in page["tables"]:
        for column in table["clicked"]:
            assert column["focused"], (table["caption"], column["name"])
            directions = {state for state, _, _ in column["clicks"]}
            assert directions == {"ascending", "descending"}
            for state, values, marked in column["clicks"]:
                assert marked == 1
                assert Counter(values) == Counter(column["before"])
                assert in_order([value for value in values if value not in ("", "–")], state), (column["name"], values)
                gaps = [value in ("", "–") for value in values]
                assert gaps == sorted(gaps)


def in_order(values, state):
    try:
        keys = [float(value.replace(",", "")) for value in values]
    except ValueError:
        # How words are collated is the browser's: both directions must be each other's mirror at least.
        return True
    return keys == sorted(keys, reverse=state == "descending")


def test_words_sort_both_ways(page):
    for table in page["tables"]:
        for column in table["clicked"]:
            first, second = (values for _, values, _ in column["clicks"])
            known = [[value for value in values if value not in ("", "–")] for values in (first, second)]
            assert known[0] == known[1][::-1], (table["caption"], column["name"])


def test_headings_skip_no_level_and_everything_has_a_name(page):
    assert page["levels"][0] == 1
    assert all(after <= before + 1 for before, after in zip(page["levels"], page["levels"][1:], strict=False))
    assert page["nameless"] == 0
    assert page["skips"]


def test_the_dark_page_is_dark(shown):
    brightness = {name: sum(map(int, re.findall(r"\d+", page["paper"])[:3])) for name, page in shown[1].items()}
    for width, scheme in zip(WIDTHS, SCHEMES, strict=True):
        for name in ("run", "evaluation"):
            assert (brightness[f"{name} {width}"] < 200) == (scheme == "dark")
