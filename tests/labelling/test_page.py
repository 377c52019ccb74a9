"""The page over HTTP: who may ask, what is told, and that nothing is lost when it is killed."""

import json
import math
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tamis.formats.qrels import grades_of, read_qrels
from tamis.labelling.desk import QRELS
from tamis.labelling.grade_log import CANNOT_TELL, LOG, read_entries
from tamis.labelling.grading import Grading
from tests.commands import start, tamis
from tests.conftest import write_beir
from tests.labelling.made_pools import made_pools, write_made
from tests.labelling.served import Grader, grading_page


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Grader]:
    with grading_page(write_made(tmp_path / "judged")) as shown:
        yield shown


def test_a_question_its_passages_and_a_persons_grades(page: Grader):
    told = page.client.get("/question", params={"person": "Ann", "place": 1}).json()
    assert told["query"] == "Where are kernel modules kept?"
    assert [one["id"] for one in told["passages"]] == ["d1", "d2", "d3", "d4"]
    assert told["passages"][0]["title"] == "Page 1"
    assert {one["grade"] for one in told["passages"]} == {None}
    sent = {"person": "Ann", "question": "q1", "document": "d2"}
    assert page.client.post("/grade", json={**sent, "grade": 1}).json() == {"done": 1, "seconds": None}
    assert page.client.post("/grade", json={**sent, "grade": CANNOT_TELL}).json()["done"] == 1
    for person, wanted in (("Ann", CANNOT_TELL), ("Bob", None)):
        told = page.client.get("/question", params={"person": person, "place": 1}).json()
        assert told["passages"][1]["grade"] == wanted
    state = page.client.get("/state", params={"person": "Ann"}).json()
    assert (state["sizes"], state["done"], state["at"]) == ([4, 4, 4], [0, 1, 0], 0)
    undone = page.client.post("/undo", json={"person": "Ann"}).json()
    assert undone == {"place": 1, "document": "d2", "grade": 1, "done": 1}
    assert page.client.post("/undo", json={"person": "Bob"}).json() == {}
    assert page.client.get("/people").json() == {"people": ["Ann"], "questions": 3, "passages": 12}


def test_nothing_says_who_found_a_passage(page: Grader):
    every = [
        page.client.get(path, params={"person": "A", "place": 0}).text
        for path in ("/", "/question", "/state", "/people")
    ]
    assert not any(system in text for text in every for system in ("bm25", "merged"))


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"person": ""}, "a name of 1 to 60 characters is needed, got 0"),
        ({"grade": 3}, "grade: got '3', expected 0, 1, 2 or 'cannot tell'"),
        ({"grade": True}, "grade: got 'True', expected"),
        ({"question": 1}, "question: expected text"),
        ({"document": "d9"}, "passage 'd9' is in no pool of question 'q0'"),
    ],
)
def test_what_is_no_grade_is_refused_in_a_line(page: Grader, sent: dict, said: str):
    body = {"person": "Ann", "question": "q0", "document": "d0", "grade": 0} | sent
    answer = page.client.post("/grade", json=body)
    assert answer.status_code == 422
    assert said in answer.json()["message"]
    assert page.desk.grading.sheets == {}


def test_bodies_and_places_that_are_none(page: Grader):
    as_json = {"content-type": "application/json"}
    for body in (b"", b"[]", b"\xff", b"[" * 50_000, b"x" * 70_000):
        assert page.client.post("/grade", content=body, headers=as_json).status_code == 422
    for place in ("", "x", "-1", "3", "99999999999"):
        assert page.client.get("/question", params={"person": "A", "place": place}).status_code == 422
    assert page.client.get("/nothing").status_code == 404
    assert page.client.get("/grade").status_code == 405


def test_only_its_own_page_may_ask(page: Grader):
    """Another page can send forms here, or point a name of its own to this machine."""
    body = json.dumps({"person": "Eve", "question": "q0", "document": "d0", "grade": 2})
    own = page.url.removeprefix("http://")
    for headers in (
        {"content-type": "text/plain"},
        {"content-type": "application/json", "origin": "https://evil.example"},
        {"content-type": "application/json", "origin": "null"},
        {"content-type": "application/json", "origin": page.url.replace(own, f"{own}0")},
        {"content-type": "application/json", "host": "evil.example"},
    ):
        assert page.client.post("/grade", content=body, headers=headers).status_code == 403, headers
    assert page.client.get("/people", headers={"host": "evil.example"}).status_code == 403
    assert page.desk.grading.sheets == {}
    allowed = {"content-type": "application/json; charset=utf-8", "origin": page.url}
    assert page.client.post("/grade", content=body, headers=allowed).status_code == 200
    answer = page.client.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "access-control-allow-origin" not in answer.headers


def test_a_signal_ends_it_with_judgements_written(tmp_path: Path):
    folder, log = write_made(tmp_path / "judged", made_pools(1, 2)), tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    process = start(log, "label", folder, "--port", port)
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        _wait_for(client)
        for doc_id in ("d0", "d1"):
            client.post(
                "/grade", json={"person": "Ann", "question": "q0", "document": doc_id, "grade": 2}
            ).raise_for_status()
        process.terminate()
        process.join(20)
    assert process.exitcode == 0, log.read_text()
    told = log.read_text(encoding="utf-8")
    assert "1 of 1 questions are graded whole" in told
    assert grades_of(read_qrels(folder / QRELS), folder / QRELS) == {"q0": {"d0": 2, "d1": 2}}


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_while_grading_nothing_is_lost(tmp_path: Path, kills: int):
    """Whatever was answered is in the log, in its order; at most the one grade under way is there beside it."""
    folder = write_made(tmp_path / "judged", made_pools(20, 10))
    rng = random.Random(kills)
    pairs = [(q, d) for q, pool in made_pools(20, 10).pools.items() for d in pool]
    told: list[tuple[str, str, int]] = []
    under_way = 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for _ in range(kills):
        process = start(tmp_path / "log", "label", folder, "--port", port)
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            _wait_for(client)
            threading.Timer(rng.uniform(0.05, 0.4), process.kill).start()  # at whatever it is doing then
            while True:
                (query_id, doc_id), grade = rng.choice(pairs), rng.randrange(3)
                body = {"person": "Ann", "question": query_id, "document": doc_id, "grade": grade}
                try:
                    client.post("/grade", json=body).raise_for_status()
                except httpx2.HTTPError:
                    under_way += 1
                    break
                told.append((query_id, doc_id, grade))
        process.join()
    entries = [(one.query_id, one.doc_id, one.grade) for one in _readable(folder / LOG)]
    left = iter(entries)
    assert all(one in left for one in told)  # in this order
    assert len(told) <= len(entries) <= len(told) + under_way
    assert len(told) > 5 * kills
    with grading_page(folder):
        pass  # opened and ended once more
    wanted = Grading(made_pools(20, 10), _readable(folder / LOG)).judgements()
    assert (grades_of(read_qrels(folder / QRELS), folder / QRELS) if wanted else {}) == wanted


def _readable(file: Path) -> list:
    whole = file.read_bytes()
    file.write_bytes(whole[: whole.rfind(b"\n") + 1])  # as the next opening does
    return list(read_entries(file))


def _wait_for(client: httpx2.Client) -> None:
    for _ in range(1200):
        try:
            client.get("/people").raise_for_status()
            return
        except httpx2.HTTPError:
            time.sleep(0.05)
    raise AssertionError("the page does not come")


def test_the_command_says_what_is_wrong_in_a_line(tmp_path: Path):
    assert (
        "is no folder of a run, so nothing wrote questions; give --queries FILE"
        in tamis("label", write_beir(tmp_path / "d")).complaint
    )
    assert "no such file or folder; expected a folder of documents" in tamis("label", tmp_path / "none").complaint
    folder = write_made(tmp_path / "judged")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = tamis("label", folder, "--port", taken.getsockname()[1])
    assert re.search(r"tamis: cannot listen on 127\.0\.0\.1:\d+", told.err)
    # 30 questions, deviation .3, t of 29 degrees of freedom: how sure a verdict will be, before anyone begins.
    assert f"± {100 * 2.0452 * 0.3 / math.sqrt(30):.1f}" in told.err
