"""Paths of the playground: the page, and where there is a folder its questions and what it holds for a query."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tamis.serving.playground.collection import Collection
from tamis.serving.playground.page import build_page, page_headers
from tamis.serving.request import RefusedError


def playground_routes(keys: bool, collection: Collection | None, characters: int) -> list[Route]:
    """The routes.

    Args:
        keys: Whether requests need a key.
        collection: What may be searched; without it there is the page only.
        characters: Most characters of a query.
    """
    page = build_page(keys, folder=collection is not None)
    headers = page_headers(page)

    async def shown(request: Request) -> Response:
        return Response(page.html, media_type="text/html", headers=headers)

    routes = [Route("/", shown)]
    return routes if collection is None else [*routes, *_of_folder(collection, characters)]


def _of_folder(collection: Collection, characters: int) -> list[Route]:
    async def questions(request: Request) -> Response:
        matching = _text(request, "matching", characters)
        return JSONResponse(
            {
                "folder": collection.name,
                "documents": collection.documents,
                "total": len(collection.questions),
                "questions": await run_in_threadpool(collection.matching, matching),
            }
        )

    async def candidates(request: Request) -> Response:
        query = _text(request, "query", characters)
        if not query.strip():
            raise RefusedError("malformed", "query: missing or empty")
        found = await run_in_threadpool(collection.search, query)
        common = await run_in_threadpool(collection.common, query, found)
        return JSONResponse(
            {
                "documents": [{"id": one.doc_id, "text": one.text, "score": one.score} for one in found],
                "common": common,
            }
        )

    return [Route("/playground/questions", questions), Route("/playground/candidates", candidates)]


def _text(request: Request, name: str, characters: int) -> str:
    text = request.query_params.get(name, "")
    if len(text) > characters:
        raise RefusedError("malformed", f"{name}: {len(text)} characters, at most {characters} are taken")
    return text
