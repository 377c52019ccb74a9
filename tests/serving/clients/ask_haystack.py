"""Haystack's JinaRanker: reads {"url", "key", "query", "documents"}, writes [[index, score], ...]."""

import json
import sys

from haystack import Document
from haystack.utils import Secret
from haystack_integrations.components.rankers.jina import JinaRanker

asked = json.load(sys.stdin)
documents = [Document(id=str(place), content=text) for place, text in enumerate(asked["documents"])]
key = Secret.from_token(asked["key"])
ranker = JinaRanker(model="tiny", api_key=key, top_k=3, base_url=f"{asked['url']}/v1/rerank")
found = ranker.run(query=asked["query"], documents=documents)["documents"]
print(json.dumps([[int(one.id), one.score] for one in found]))
