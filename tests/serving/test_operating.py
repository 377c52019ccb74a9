"""Models loaded, swapped, put back, split and taken away while requests go on; probes, metrics, and who may do it."""

import dataclasses
import gc
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import yaml
from safetensors.torch import load_file, save_file

from tamis import Reranker
from tamis.models.encoder import Encoder
from tamis.models.saving import save_student
from tamis.serving import serve as serving
from tamis.serving.loading import version_of
from tamis.serving.split import Split
from tests.commands import tamis
from tests.conftest import TOPICS
from tests.rerankers import DEPLOYMENT, new_stock
from tests.serving.running import Running, operated, served, until
from tests.serving.test_load import Gate

QUERY = "How do I install a package?"
DOCUMENTS = [answer for topics in TOPICS.values() for _, answer in topics][:6]
BOSS = {"authorization": "Bearer boss"}


@pytest.fixture(scope="module")
def other_folder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the stock one, with another head."""
    folder = tmp_path_factory.mktemp("other") / "other"
    save_student(new_stock(Encoder.load(tiny_encoder), seed=7), folder, DEPLOYMENT)
    return folder


@pytest.fixture
def folders(stock_folder: Path, other_folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Copies of both, which may be broken."""
    return (
        shutil.copytree(stock_folder, tmp_path / "old"),
        shutil.copytree(other_folder, tmp_path / "new"),
    )


def expected(folder: Path) -> list[float]:
    scores: list[float] = Reranker(folder).predict([(QUERY, text) for text in DOCUMENTS]).tolist()
    return scores


def ask(server: Running, model: str | None = None, path: str = "/v1/rerank", **headers: str) -> httpx2.Response:
    body = {"query": QUERY, "documents": DOCUMENTS} | ({"model": model} if model else {})
    return server.post(path, body, **headers)


def scores_of(answer: httpx2.Response) -> list[float]:
    found = sorted(answer.json()["results"], key=lambda hit: hit["index"])
    return [hit["relevance_score"] for hit in found]


def admin(server: Running, method: str, path: str, body: Any = None) -> httpx2.Response:
    return server.client.request(method, f"/admin/{path}", json=body, headers=BOSS)


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The lines of the log; the progress of libraries, which the command line turns off, is passed over."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]


def short(folder: Path) -> str:
    return version_of(str(folder)).short


def test_a_model_is_swapped_and_put_back_under_load_and_every_answer_is_that_of_the_version_it_names(folders):
    old, new = folders
    right = {short(old): expected(old), short(new): expected(new)}
    assert np.abs(np.subtract(*right.values())).max() > 0.01
    with operated("boss", models=[f"m={old}"]) as server, ThreadPoolExecutor(4) as threads:
        ended = threading.Event()

        def client() -> list[httpx2.Response]:
            found = []
            with httpx2.Client(base_url=server.url, timeout=20) as own:
                while not ended.wait(0.005):  # without a pause they would have the processor for themselves
                    found.append(own.post("/v1/rerank", json={"query": QUERY, "documents": DOCUMENTS}))
            return found

        clients = [threads.submit(client) for _ in range(3)]
        for _ in range(2):
            assert admin(server, "PUT", "models/m", {"folder": str(new)}).json()["models"]["m"]["version"] == short(new)
            assert admin(server, "POST", "back/m").json()["models"]["m"]["version"] == short(old)
        ended.set()
        answers = [answer for one in clients for answer in one.result()]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-model-version"] for answer in answers} <= right.keys()
    for answer in answers:
        assert scores_of(answer) == pytest.approx(right[answer.headers["x-model-version"]], abs=1e-5)


def test_requests_under_way_end_on_the_model_they_began_with_and_its_memory_goes_back(folders):
    old, new = folders
    with operated("boss", models=[f"m={old}"]) as server, ThreadPoolExecutor(1) as threads:
        engine = server.service.engines["m"]
        gate = Gate(engine.reranker)
        first = threads.submit(httpx2.post, f"{server.url}/v1/rerank", json={"query": QUERY, "documents": DOCUMENTS})
        assert gate.entered.wait(10)
        assert admin(server, "PUT", "models/m", {"folder": str(new)}).status_code == 200
        assert ask(server).headers["x-model-version"] == short(new)
        worker, watched = engine._worker, weakref.ref(engine.reranker.scorer)
        assert worker.is_alive()
        gate.open.set()
        assert first.result().headers["x-model-version"] == short(old)
        worker.join(10)
        del engine, gate
        until(lambda: gc.collect() >= 0 and watched() is None)


def broken(folder: Path, how: str) -> str:
    """Break a model; how the line begins that tells of it."""
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    head = next(name for name in tensors if tensors[name].shape[0] == 1 and tensors[name].ndim == 2)
    if how == "gone":
        shutil.rmtree(folder)
    elif how == "half a file":
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    elif how == "half the files":
        (folder / "tokenizer.json").unlink()
    elif how == "not finite":
        save_file({**tensors, head: tensors[head] * float("nan")}, weights, {"format": "pt"})
    elif how == "constant":
        save_file({**tensors, head: tensors[head] * 0}, weights, {"format": "pt"})
    return str(folder)


@pytest.mark.parametrize("how", ["gone", "half a file", "half the files", "not finite", "constant"])
def test_a_broken_model_leaves_the_old_one_and_one_line(how: str, folders, capsys: pytest.CaptureFixture[str]):
    old, new = folders
    with operated("boss", models=[f"m={old}"]) as server:
        told = admin(server, "PUT", "models/m", {"folder": broken(new, how)})
        assert told.status_code == 422, told.text
        line = told.json()["error"]["message"]
        assert str(new) in line
        assert line.endswith("; m stays as it is")
        assert "\n" not in line
        assert ask(server).headers["x-model-version"] == short(old)
        counted = server.get("/metrics").text
        assert 'tamis_model_changes_total{change="swap",outcome="failed"} 1.0' in counted
    errors = [one for one in said(capsys) if one["level"] == "error"]
    assert [one["event"] for one in errors if one["event"] != "a model could not be loaded"] == [line]


@pytest.mark.parametrize("kind", ["stock_folder", "warm_folder"])
def test_a_model_that_is_loaded_does_not_change_with_its_files(kind: str, request, tmp_path: Path):
    folder = shutil.copytree(request.getfixturevalue(kind), tmp_path / "m")
    right = expected(folder)
    with operated(models=[f"m={folder}"]) as server:
        for file in folder.glob("*.safetensors"):
            with file.open("r+b") as stream:  # in place, as a copy over it is written
                stream.seek(file.stat().st_size // 3)
                stream.write(b"\x11" * (file.stat().st_size // 2))
                stream.truncate()
        assert scores_of(ask(server)) == pytest.approx(right, abs=1e-5)


def test_a_model_that_draws_its_scores_by_chance_is_not_served(folders, monkeypatch: pytest.MonkeyPatch):
    old, new = folders
    with operated("boss", models=[f"m={old}"]) as server:
        generator = np.random.default_rng(0)
        plain = Reranker.score_pairs

        def drawn(self: Reranker, *arguments: Any, **others: Any) -> Any:
            found = plain(self, *arguments, **others)
            return dataclasses.replace(
                found, logits=found.logits + generator.normal(0, 0.5, len(found.logits)).astype(np.float32)
            )

        monkeypatch.setattr(Reranker, "score_pairs", drawn)
        told = admin(server, "PUT", "models/m", {"folder": str(new)}).json()["error"]["message"]
        assert re.search(r"scores of the same probe texts change from one time to the next, by \S+; m stays", told)


def test_a_model_has_to_put_the_relevant_documents_of_the_probe_first(folders, tmp_path: Path):
    old, new = folders
    of_old, of_new = np.array(expected(old)), np.array(expected(new))
    disagree = (of_old[:, None] > of_old + 0.01) & (of_new[:, None] < of_new - 0.01)  # [one above, other]
    first, last = (DOCUMENTS[place] for place in np.argwhere(disagree)[0])
    probe = tmp_path / "probe.jsonl"
    probe.write_text(json.dumps({"query": QUERY, "pos": [first], "neg": [last]}) + "\n", encoding="utf-8")
    with operated("boss", models=[f"m={old}"], probe=probe) as server:
        told = admin(server, "PUT", "models/m", {"folder": str(new)}).json()["error"]["message"]
        assert re.search(r"of 'How do I install a package\?' in the probe .* it scores another document above", told)
        assert ask(server).headers["x-model-version"] == short(old)
        probe.write_text("{}\n", encoding="utf-8")
        told = admin(server, "PUT", "models/m", {"folder": str(new)}).json()["error"]["message"]
        assert "expected the fields of a training file" in told


def test_what_is_put_back_has_to_be_what_was_served(folders):
    old, new = folders
    with operated("boss", models=[f"m={old}"]) as server:
        assert "m: no other model had this name before" in admin(server, "POST", "back/m").text
        admin(server, "PUT", "models/m", {"folder": str(new)})
        with (old / "tokenizer.json").open("a", encoding="utf-8") as stream:
            stream.write("\n")
        told = admin(server, "POST", "back/m")
        assert told.json()["error"]["message"].endswith(
            "its files are not those that were served before; m stays as it is"
        )
        assert ask(server).headers["x-model-version"] == short(new)


def test_models_are_added_and_taken_away_and_put_back(folders):
    old, new = folders
    with operated("boss", models=[f"m={old}"]) as server:
        assert ask(server, "n").status_code == 404
        admin(server, "PUT", "models/n", {"folder": str(new)})
        assert ask(server, "n").headers["x-model"] == "n"
        assert ask(server).headers["x-model"] == "m"
        assert 'tamis_model{model="n"' in server.get("/metrics").text
        assert admin(server, "DELETE", "models/n").status_code == 200
        assert ask(server, "n").status_code == 404
        assert 'tamis_waiting_pairs{model="n"}' not in server.get("/metrics").text
        assert admin(server, "POST", "back/n").status_code == 200
        assert ask(server, "n").headers["x-model-version"] == short(new)
        admin(server, "DELETE", "models/n")
        assert "the only model cannot be taken away" in admin(server, "DELETE", "models/m").text
        assert "nothing: no such model; there are m" in admin(server, "DELETE", "models/nothing").text


def test_nobody_changes_models_without_a_key_of_the_right_list(stock_folder: Path):
    with operated("", models=[f"m={stock_folder}"]) as server:
        refused = server.get("/admin/models", **BOSS)
        assert (refused.status_code, refused.json()["error"]["message"]) == (
            403,
            "nobody may change models here; set TAMIS_ADMIN_KEY or --admin-keys",
        )
    with operated("boss", models=[f"m={stock_folder}"]) as server:
        for method, path in (("GET", "models"), ("PUT", "models/m"), ("POST", "reload"), ("POST", "//reload/")):
            for key in ("", "Bearer client", "Bearer"):
                answer = server.client.request(method, f"/admin/{path}", headers={"authorization": key})
                assert answer.status_code == 401, (path, key)
        assert server.get("/admin/models", **BOSS).json()["models"].keys() == {"m"}
        told = admin(server, "PUT", "models/m", {"folder": "/"})  # whose files nobody wants to have read
        assert told.json()["error"]["message"].startswith("/: no .safetensors weights in this folder")
        for wrong in ({}, {"folder": ""}, {"folder": 1}, {"folder": "x", "more": 1}, []):
            assert admin(server, "PUT", "models/m", wrong).status_code == 400
        large = admin(server, "PUT", "models/m", {"folder": "x" * 70_000})
        assert large.status_code == 413


def test_shares_of_a_split_are_those_of_its_weights_and_a_hash_stays_with_its_model():
    weights = {"old": 90.0, "new": 10.0, "off": 0.0}
    chance = Split("m", weights)
    random.seed(5)
    drawn = Counter(chance.choose("q", {}) for _ in range(10_000))
    assert abs(drawn["new"] / 10_000 - 0.1) < 0.01
    assert drawn.keys() == {"old", "new"}
    by_user = Split("m", weights, "header:x-user")
    users = [str(number) for number in range(10_000)]
    chosen = {user: by_user.choose("any", {"x-user": user}) for user in users}
    assert abs(Counter(chosen.values())["new"] / 10_000 - 0.1) < 0.01
    assert all(by_user.choose("another", {"x-user": user}) == model for user, model in chosen.items())
    more = Split("m", {"old": 80.0, "new": 20.0}, "header:x-user")  # whoever had the new one keeps it
    assert all(more.choose("", {"x-user": user}) == "new" for user in users if chosen[user] == "new")
    by_query = Split("m", weights, "query")
    without = [by_user.choose(f"q{number}", {}) for number in range(2000)]
    assert without == [by_query.choose(f"q{number}", {}) for number in range(2000)]


def test_a_split_is_a_name_that_clients_ask_for_and_the_answer_says_who_it_was(folders):
    old, new = folders
    settings = {"models": [f"old={old}", f"new={new}"], "split": ["m=old:1,new:1"], "split_by": "header:x-user"}
    with operated("boss", **settings) as server:
        split = Split("m", {"old": 1, "new": 1}, "header:x-user")
        for user in map(str, range(8)):
            answer = ask(server, "m", x_user=user)
            drawn = split.choose(QUERY, {"x-user": user})
            assert (answer.headers["x-model"], answer.json()["model"]) == (drawn, drawn)
            assert ask(server, x_user=user).headers["x-model"] == drawn  # who names no model asks for the split
        assert ask(server, "old", x_user="1").headers["x-model"] == "old"
        assert [one["id"] for one in server.get("/v1/models").json()["data"]] == ["old", "new", "m"]
        counted = server.get("/metrics").text
        total = sum(map(float, re.findall(r'tamis_split_requests_total\{model="\w+",split="m"\} (\S+)', counted)))
        assert total == 16
        assert "a split sends requests to it" in admin(server, "DELETE", "models/new").text
        admin(server, "PUT", "splits/m", {"weights": {"old": 1, "new": 0}})
        assert {ask(server, "m").headers["x-model"] for _ in range(8)} == {"old"}
        for wrong, line in (
            ({"weights": {"none": 1}}, "m has a weight for 'none'; there are old, new"),
            ({"weights": {"old": 0}}, "weights: expected some above 0"),
            ({"weights": {"old": 1}, "by": "x"}, "expected chance, query or header:NAME, got 'x'"),
        ):
            assert line in admin(server, "PUT", "splits/m", wrong).json()["error"]["message"]
        admin(server, "DELETE", "splits/m")
        assert ask(server, "m").status_code == 404


@contextmanager
def configured(content: dict[str, Any], folder: Path, **others: str) -> Iterator[tuple[Running, Path]]:
    file = folder / "serve.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    with operated("boss", file, **others) as server:
        yield server, file


def test_settings_that_are_read_again_are_followed_and_what_fails_stays(folders, tmp_path: Path):
    old, new = folders
    link = tmp_path / "link"
    link.symlink_to(old)
    (tmp_path / "keys").write_text("one\n")
    content = {"models": {"m": str(link)}, "keys": str(tmp_path / "keys"), "deadline": 30}
    one, two = {"authorization": "Bearer one"}, {"authorization": "Bearer two"}
    with configured(content, tmp_path) as (server, file):
        link.unlink()
        link.symlink_to(new)  # as `tamis run --model` does
        (tmp_path / "keys").write_text("two\n")
        assert admin(server, "POST", "reload").json()["failures"] == []
        assert ask(server, **one).status_code == 401
        assert ask(server, **two).headers["x-model-version"] == short(new)

        more = {"models": {"m": str(link), "n": str(old)}, "split": {"s": {"m": 1, "n": 1}}, "port": 1, "deadline": 40}
        file.write_text(yaml.safe_dump(content | more))
        answer = admin(server, "POST", "reload")
        assert answer.status_code == 422
        assert answer.json()["failures"] == ["deadline: changes with the next start only"]  # --port counts
        assert answer.json()["models"].keys() == {"m", "n"}
        assert answer.json()["splits"]["s"]["weights"] == {"m": 1, "n": 1}

        broken(old, "half a file")
        file.write_text(yaml.safe_dump(content | {"models": {"m": str(old), "x": "y"}, "split": {"s": {"x": 1}}}))
        failures = admin(server, "POST", "reload").json()["failures"]
        assert len(failures) == 4
        assert failures[0].endswith("; m stays as it is")
        assert failures[1].endswith("; x is not served")
        assert failures[2] == "splits stay as they are, since x is not there"
        assert failures[3] == "n: a split sends requests to it; change the split first"
        assert ask(server, "m", **two).headers["x-model-version"] == short(new)

        file.write_text("")  # whoever writes a file empties it first
        assert admin(server, "POST", "reload").json()["failures"] == ["no model is named; everything stays as it is"]
        assert admin(server, "GET", "models").json()["models"].keys() == {"m", "n"}

        file.write_text("prot: 1")
        (line,) = admin(server, "POST", "reload").json()["failures"]
        assert line == f"{file}: unknown key 'prot'; did you mean 'port'?; everything stays as it is"
        file.write_text(yaml.safe_dump({"models": {"n": str(new)}, "deadline": 30, "keys": str(tmp_path / "keys")}))
        found = admin(server, "POST", "reload").json()
        assert (found["models"].keys(), found["splits"], found["failures"]) == ({"n"}, {}, [])


def test_a_split_becomes_a_model_and_a_model_a_split_in_one_step(folders, tmp_path: Path):
    old, new = folders
    apart = {"models": {"old": str(old), "new": str(new)}, "split": {"m": {"old": 1, "new": 1}}}
    with configured(apart, tmp_path) as (server, file):
        for content in ({"models": {"m": str(new)}}, apart):
            file.write_text(yaml.safe_dump(content))
            found = admin(server, "POST", "reload").json()
            assert found["failures"] == []
            assert found["models"].keys() == content["models"].keys()
            assert found["splits"].keys() == content.get("split", {}).keys()
            assert ask(server, "m").status_code == 200


def test_probes_say_why_and_need_no_key(stock_folder: Path):
    reranker = Reranker(stock_folder)
    gate = Gate(reranker)
    with served({"m": reranker}, keys=("one",)) as server:
        engine = server.service.engines["m"]
        gate.fails = lambda rows: True
        gate.open.set()
        assert server.get("/readyz").json() == {"status": "ok"}
        asked = {"query": "a", "texts": ["b"]}
        assert server.post("/rerank", asked, authorization="Bearer one").status_code == 500
        told = server.get("/readyz")
        assert (told.status_code, told.json()) == (503, {"status": "m: it has failed on every batch for 0 seconds"})
        assert server.get("/livez").status_code == 200
        engine._failing_since -= 301
        assert server.get("/livez").status_code == 503
        gate.fails = lambda rows: False  # it is well again, and shows it when it is asked
        assert server.get("/readyz").status_code == 200
        assert server.get("/livez").json() == {"status": "ok"}
        engine._batch_since = -1e6
        assert "it has been at one batch for" in server.get("/livez").json()["status"]
        engine._batch_since = float("inf")
        server.service.draining = True
        assert server.get("/readyz").json() == {"status": "draining"}


def test_a_request_that_comes_before_the_models_waits_for_them_and_readiness_says_so(
    stock_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    go, plain = threading.Event(), serving.load_models

    def slow(*arguments: Any) -> Any:
        assert go.wait(10)
        return plain(*arguments)

    monkeypatch.setattr(serving, "load_models", slow)
    with ThreadPoolExecutor(1) as threads, operated(models=[f"m={stock_folder}"], wait=False) as server:
        until(lambda: answers(server))
        assert server.get("/livez").status_code == 200
        told = server.get("/readyz")
        assert (told.status_code, told.json()) == (503, {"status": "models are being loaded"})
        early = threads.submit(httpx2.post, f"{server.url}/v1/rerank", json={"query": QUERY, "documents": DOCUMENTS})
        until(lambda: server.service.under_way == 1)
        go.set()
        assert early.result().status_code == 200
        assert server.get("/readyz").status_code == 200


def test_a_change_that_comes_before_the_first_models_is_made_after_them(folders, monkeypatch: pytest.MonkeyPatch):
    old, new = folders
    go, plain = threading.Event(), serving.load_models

    def slow(*arguments: Any) -> Any:
        assert go.wait(10)
        return plain(*arguments)

    monkeypatch.setattr(serving, "load_models", slow)
    with ThreadPoolExecutor(2) as threads, operated("boss", models=[f"m={old}"], wait=False) as server:
        until(lambda: answers(server))
        swap = threads.submit(admin, server, "PUT", "models/m", {"folder": str(new)})
        split = threads.submit(admin, server, "PUT", "splits/s", {"weights": {"m": 1}})
        assert not wait([swap, split], 0.3).done
        go.set()
        found = swap.result().json()["models"]["m"]
        assert (found["version"], found["before"]) == (short(new), str(old))
        assert split.result().status_code == 200
        assert ask(server, "s").headers["x-model-version"] == short(new)


def answers(server: Running) -> bool:
    try:
        return server.get("/livez").status_code == 200
    except httpx2.TransportError:
        return False


def test_metrics_and_probes_have_a_port_of_their_own_without_keys(stock_folder: Path, tmp_path: Path):
    (tmp_path / "keys").write_text("one\n")
    with operated(models=[f"m={stock_folder}"], keys=tmp_path / "keys", metrics_port=0) as server:
        assert server.get("/metrics").status_code == 401
        watched = server.server._watched
        assert watched is not None
        url = f"http://127.0.0.1:{watched.getsockname()[1]}"
        assert "tamis_waiting_pairs" in httpx2.get(f"{url}/metrics").text
        assert [httpx2.get(f"{url}/{path}").status_code for path in ("livez", "readyz")] == [200, 200]
        assert httpx2.post(f"{url}/rerank", json={"query": "a", "texts": ["b"]}).status_code == 404
        assert httpx2.get(f"{url}/admin/models").status_code == 404


@pytest.mark.parametrize("option", ["--port", "--metrics-port"])
def test_a_port_that_is_taken_is_told_in_one_line(option: str, stock_folder: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        others = [] if option == "--port" else ["--port", 0]
        outcome = tamis("serve", f"m={stock_folder}", *others, option, port)
    assert outcome.status == 2
    assert re.fullmatch(rf"cannot listen on 127.0.0.1:{port}: .*; choose another --host or {option}", outcome.complaint)


def test_a_model_that_cannot_be_loaded_ends_the_server_with_one_line(folders):
    outcome = tamis("serve", f"m={broken(folders[0], 'not finite')}", "--port", 0)
    assert outcome.status == 2
    last = outcome.err.splitlines()[-1]
    assert last == f"tamis: {folders[0]}: scores are not finite; the weights are broken"


def test_the_log_names_model_version_and_split(folders, capsys: pytest.CaptureFixture[str]):
    old, new = folders
    with operated(models=[f"old={old}", f"new={new}"], split=["m=old:1"]) as server:
        ask(server, x_request_id="one")
    (found,) = [line for line in said(capsys) if line.get("request_id") == "one"]
    assert found.items() >= {"model": "old", "version": short(old), "split": "m", "status": 200}.items()


@pytest.mark.slow
def test_sighup_reads_settings_again_and_a_terminal_that_closes_ends_the_server(folders, tmp_path: Path):
    old, new = folders
    file = tmp_path / "serve.yaml"
    file.write_text(yaml.safe_dump({"models": {"m": str(old)}, "port": 0}))
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "tamis", "serve", "--config", str(file)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    heard, ended = bytearray(), threading.Event()
    reading = threading.Thread(target=read_all, args=(ours, heard, ended), daemon=True)
    reading.start()
    try:
        until(lambda: b'"ready"' in heard, 60)
        url = re.findall(rb'"url": "([^"]+)"', heard)[0].decode()
        file.write_text(yaml.safe_dump({"models": {"m": str(new)}, "port": 0}))
        process.send_signal(signal.SIGHUP)
        until(lambda: b"settings were read again" in heard, 30)
        assert httpx2.get(f"{url}/v1/models").json()["data"][0]["version"] == short(new)
        ended.set()
        reading.join()  # who reads keeps a terminal open
        os.close(ours)
        process.send_signal(signal.SIGHUP)  # as a shell does whose terminal has gone
        assert process.wait(20) == 0
    finally:
        process.kill()


def read_all(terminal: int, heard: bytearray, ended: threading.Event) -> None:
    while not ended.is_set():
        if select.select([terminal], [], [], 0.1)[0]:
            heard += os.read(terminal, 4096)
