"""The server that most people write first: FastAPI around a CrossEncoder. For benchmarks/serving.py.

python benchmarks/serving_naive.py FOLDER PORT
"""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import CrossEncoder

app = FastAPI()
models: list[CrossEncoder] = []


class Body(BaseModel):
    """Cohere's, as far as it is needed."""

    model: str
    query: str
    documents: list[str]


@app.get("/ready")
def ready() -> dict[str, str]:
    """Answers once the model is loaded."""
    return {"status": "ok"}


@app.post("/v2/rerank")
def rerank(body: Body) -> dict[str, Any]:
    """Score one request, by itself."""
    scores = models[0].predict([(body.query, text) for text in body.documents])
    results = [{"index": index, "relevance_score": float(score)} for index, score in enumerate(scores)]
    return {"results": sorted(results, key=lambda result: -result["relevance_score"])}


if __name__ == "__main__":
    models.append(CrossEncoder(sys.argv[1], device="cpu"))
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
