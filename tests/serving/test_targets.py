"""How a request may be addressed and from which pages: RFC 9112, RFC 8259 and the Fetch standard."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError
from tamis.serving.dialects.choosing import choose
from tamis.serving.dialects.vllm import VLLM_RERANK
from tamis.serving.origins import check_origins
from tamis.serving.serve import serve
from tamis.serving.settings import Sources
from tamis.serving.targets import plain_target
from tests.serving.running import Running, served

BODY = {"model": "m", "query": "a user", "documents": ["one", "two"]}
PAGE = "https://page.example"

# What the clients' own packages send beside the body: cohere-ai 7 and openai 4 in JavaScript.
COHERE = "authorization,content-type,x-client-name,x-fern-language,x-fern-runtime,x-fern-sdk-name,x-fern-sdk-version"
OPENAI = (
    "authorization,content-type,idempotency-key,openai-organization,x-stainless-arch,x-stainless-lang,x-stainless-os,"
    "x-stainless-package-version,x-stainless-retry-count,x-stainless-runtime,x-stainless-runtime-version,"
    "x-stainless-timeout"
)


@pytest.fixture(scope="module")
def server(stock_folder: Path) -> Iterator[Running]:
    with served({"m": stock_folder}, origins=(PAGE,)) as running:
        yield running


def preflight(server: Running, origin: str, headers: str, method: str = "POST"):
    asking = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": headers,
        "access-control-request-private-network": "true",
    }
    return server.client.options("/v2/rerank", headers=asking)


@pytest.mark.parametrize("headers", [COHERE, OPENAI, "x-anything"])
def test_a_preflight_is_passed_as_the_fetch_standard_asks_whatever_a_client_sends(server: Running, headers: str):
    """Fetch, 4.8: an ok status, the origin, and each header named, since a wildcard does not cover `authorization`."""
    answer = preflight(server, PAGE, headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert allowed >= set(headers.split(","))
    assert answer.headers["access-control-allow-private-network"] == "true"
    assert "access-control-allow-origin" not in preflight(server, "https://other.example", headers).headers


def test_a_page_may_read_the_figures_beside_an_answer(server: Running):
    answer = server.post("/v2/rerank", BODY, origin=PAGE)
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {name for name in answer.headers if name.startswith("x-")} <= set(exposed)


@pytest.mark.parametrize(
    "origin",
    [
        *("*", "null", "https://a.example", "http://a.example:8080", "http://localhost:3000", "http://127.0.0.1:3000"),
        *("http://[::1]:3000", "https://xn--bcher-kva.example", "https://a.example:80", "http://a.example:443"),
        *("chrome-extension://abcdefghijklmnop", "capacitor://localhost", "https://my_app.example"),
    ],
)
def test_origins_that_browsers_send_are_taken(origin: str):
    check_origins([origin])


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("https://a.example/", "https://a.example"),
        ("https://a.example/app", "https://a.example"),
        ("https://A.example", "https://a.example"),
        ("HTTPS://a.example", "https://a.example"),
        ("https://a.example:443", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("http://a.example:08080", "http://a.example:8080"),
        ("a.example", "https://a.example"),
        ("localhost:3000", "http://localhost:3000"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[0:0:0:0:0:0:0:1]:3000", "http://[::1]:3000"),
        ("https://user@a.example", "https://a.example"),
        ("https://a.example,", "https://a.example"),
        *((one, "such as") for one in ("https://*.a.example", "https://a.example, https://b.example", "file:///x", "")),
        *((one, "such as") for one in ("ws://a.example", "http://127.1", "http://a.example:99999", "https://a b")),
    ],
)
def test_origins_that_no_browser_sends_are_refused_with_what_was_meant(given: str, meant: str):
    with pytest.raises(InputError, match="no browser calls a page so; expected SCHEME://HOST") as told:
        check_origins([PAGE, given])
    assert f"{meant}, or" in str(told.value) or f"{meant} https" in str(told.value)
    with pytest.raises(InputError, match=r"--cors .*: no browser calls a page so"):
        serve(Sources({"models": ["nowhere"], "cors": [given]}, {}))  # before any model is loaded


@pytest.mark.parametrize("path", ["/v2/rerank/", "//v2/rerank", "/v2//rerank", "/v2/rerank//", "///v2/rerank/"])
def test_slashes_too_many_lead_nowhere_else(server: Running, path: str):
    answer = server.client.post(server.client.base_url.join("/").copy_with(raw_path=path.encode()), json=BODY)
    assert answer.status_code == 200
    assert answer.json()["results"]


def exchange(server: Running, target: str, host: str, body: bytes = b"") -> tuple[int, bytes]:
    """Status and body of a request that is written as it stands."""
    address = (server.client.base_url.host, server.client.base_url.port)
    method = "POST" if body else "GET"
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(head.encode() + body)
        raw = b"".join(iter(lambda: client.recv(65536), b""))
    return int(raw.split()[1]), raw.partition(b"\r\n\r\n")[2]


def test_a_target_with_scheme_and_host_is_its_path_and_its_host_counts(server: Running):
    """RFC 9112, 3.2.2: a server must accept it, and must go by its host and not by the header."""
    body = json.dumps(BODY).encode()
    assert exchange(server, "http://localhost:1/v2/rerank", "localhost", body)[0] == 200
    assert exchange(server, "HTTP://localhost/v1/models?x=1", "localhost")[0] == 200
    assert exchange(server, "http://localhost", "localhost")[0] == 200  # the page
    assert exchange(server, "http://elsewhere.example/v1/models", "localhost")[0] == 403
    assert exchange(server, "http://localhost/v1/models", "elsewhere.example")[0] == 200
    assert exchange(server, "http://localhost/nowhere", "localhost")[0] == 404


def test_an_offer_of_http_2_is_passed_over(server: Running, caplog: pytest.LogCaptureFixture):
    """RFC 9110, 7.8: a server may ignore `Upgrade`. Java's client offers it with the first request, body and all."""
    address = (server.client.base_url.host, server.client.base_url.port)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (json.dumps(BODY).encode(), b""))
    head = (
        "POST /v2/rerank HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with socket.create_connection(address, timeout=10) as client:
        answers = client.makefile("rb")
        for _ in range(2):  # and the connection can be used again
            client.sendall(head.encode() + chunks)
            assert answers.readline().split()[1] == b"200"
            length = next(
                line for line in iter(answers.readline, b"\r\n") if line.lower().startswith(b"content-length")
            )
            while answers.readline() != b"\r\n":
                pass
            assert json.loads(answers.read(int(length.split()[1])))["results"]
    assert "pgrade" not in caplog.text  # uvicorn said twice a connection that a library of WebSockets is missing


@given(st.lists(st.sampled_from(["a", "b%20c", ".."]), max_size=4), st.data())
def test_any_spelling_of_a_path_is_one_path(parts, data):
    slashes = st.sampled_from(["/", "//", "///"])
    path = "".join(data.draw(slashes) + part for part in parts) + data.draw(st.sampled_from(["", "/", "//"]))
    scope = {"type": "http", "path": path or "/", "raw_path": (path or "/").encode(), "headers": []}
    assert plain_target(scope)["path"] == "/" + "/".join(parts)
    assert plain_target(plain_target(scope))["path"] == plain_target(scope)["path"]
    assert scope["path"] == path or not path


def test_a_body_with_a_byte_order_mark_is_read(server: Running):
    """RFC 8259, 8.1: a reader may pass over it."""
    for path, dialect in (("/v2/rerank", BODY), ("/rerank", {"query": "a user", "texts": ["one"]})):
        raw = b"\xef\xbb\xbf" + json.dumps(dialect).encode()
        answer = server.client.post(path, content=raw, headers={"content-type": "application/json"})
        assert answer.status_code == 200
        twice = server.client.post(path, content=b"\xef\xbb\xbf" + raw, headers={"content-type": "application/json"})
        assert twice.status_code == 422 or twice.status_code == 400


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
@pytest.mark.parametrize(("field", "value"), [("top_n", 0), ("top_n", -1), ("max_tokens_per_doc", 0)])
def test_vllms_zero_stands_for_all_wherever_vllm_takes_it(server: Running, path: str, field: str, value: int):
    """vLLM returns all documents unless `top_n` is above 0."""
    answer = server.post(path, BODY | {field: value})
    assert answer.status_code == 200
    assert len(answer.json()["results"]) == 2
    assert answer.json()["id"].startswith("score-")
    assert choose(path, BODY | {field: value}) is VLLM_RERANK
    assert path == "/rerank" or choose(path, BODY | {field: False}) is not VLLM_RERANK
