"""A server that speaks as much of Elasticsearch's and OpenSearch's REST API as is documented for what tamis' pages ask:
`_bulk`, `_search` with `multi_match`, and scrolling through all. It is no search engine: it counts words.
"""

import json
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

SHARDS = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


class Store:
    """Documents of one index, in the order in which they came."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.refused: set[str] = set()
        self.left: dict[str, list[dict[str, Any]]] = {}

    def bulk(self, body: bytes) -> dict[str, Any]:
        assert body.endswith(b"\n"), "the last line of a bulk body ends with a newline"
        lines = [json.loads(line) for line in body.split(b"\n")[:-1]]
        items = [self._indexed(action["index"], one) for action, one in zip(lines[::2], lines[1::2], strict=True)]
        return {"took": 1, "errors": any("error" in item for item in items), "items": [{"index": one} for one in items]}

    def _indexed(self, where: dict[str, str], document: dict[str, Any]) -> dict[str, Any]:
        found = {"_index": where["_index"], "_id": where["_id"]}
        if where["_id"] in self.refused:
            reason = {"type": "document_parsing_exception", "reason": "failed to parse field [text]"}
            return found | {"status": 400, "error": reason}
        result = "updated" if where["_id"] in self.documents else "created"
        self.documents[where["_id"]] = document
        shards = {"total": 2, "successful": 1, "failed": 0}
        return found | {
            "_version": 1,
            "result": result,
            "_shards": shards,
            "_seq_no": 0,
            "_primary_term": 1,
            "status": 201,
        }

    def search(self, body: dict[str, Any], asked: dict[str, list[str]]) -> dict[str, Any]:
        size = int(asked.get("size", [body.get("size", 10)])[0])
        match = body.get("query", {}).get("multi_match")
        hits = self._matching(match) if match else [(1.0, key) for key in self.documents]
        found = [self._hit(key, score if match else None) for score, key in hits]
        answer = self._answer(found[:size], len(found))
        if "scroll" in asked:
            answer["_scroll_id"] = f"scroll{len(self.left)}"
            self.left[answer["_scroll_id"]] = found[size:]
        return answer

    def scroll(self, body: dict[str, Any], size: int = 7) -> dict[str, Any]:
        left = self.left[body["scroll_id"]]
        self.left[body["scroll_id"]] = left[size:]
        return self._answer(left[:size], len(self.documents)) | {"_scroll_id": body["scroll_id"]}

    def _matching(self, match: dict[str, Any]) -> list[tuple[float, str]]:
        texts = {key: words(" ".join(one[field] for field in match["fields"])) for key, one in self.documents.items()}
        asked = set(words(match["query"]))
        seen = {word: sum(word in text for text in texts.values()) for word in asked}
        weights = {word: math.log(1 + len(texts) / count) for word, count in seen.items() if count}
        scored = [(sum(weight for word, weight in weights.items() if word in text), key) for key, text in texts.items()]
        return sorted((one for one in scored if one[0] > 0), reverse=True)

    def _hit(self, key: str, score: float | None) -> dict[str, Any]:
        return {"_index": "tamis_example", "_id": key, "_score": score, "_source": self.documents[key]}

    def _answer(self, hits: list[dict[str, Any]], total: int) -> dict[str, Any]:
        best = hits[0]["_score"] if hits else None
        inner = {"total": {"value": total, "relation": "eq"}, "max_score": best, "hits": hits}
        return {"took": 1, "timed_out": False, "_shards": SHARDS, "hits": inner}


def handler(store: Store) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            address = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            store.asked.append(f"{self.command} {address.path} {self.headers.get('Authorization', '')}".strip())
            name, asked = address.path.rsplit("/", 1)[-1], parse_qs(address.query)
            if name == "_bulk":
                assert "json" in self.headers["Content-Type"]  # Elasticsearch's client says ndjson, OpenSearch's json
                assert asked["refresh"] == ["true"]
                self.send(200, store.bulk(body))
            elif address.path == "/tamis_example/_search":
                self.send(200, store.search(json.loads(body or b"{}"), asked))
            elif address.path == "/_search/scroll" and self.command == "DELETE":
                self.send(200, {"succeeded": True, "num_freed": 1})
            elif address.path == "/_search/scroll":
                self.send(200, store.scroll(json.loads(body)))
            else:
                reason = f"no handler found for uri [{self.path}] and method [{self.command}]"
                self.send(400, {"error": reason, "status": 400})

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def send(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            kind = self.headers.get("Accept", "application/json").split(",")[0]
            self.send_header("Content-Type", kind if "json" in kind else "application/json")
            self.send_header("X-Elastic-Product", "Elasticsearch")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def running(store: Store) -> Iterator[str]:
    """The address of a server of these documents."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(store))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
