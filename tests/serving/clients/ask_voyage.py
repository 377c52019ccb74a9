"""Voyage's own client: reads {"url", "key", "query", "documents"}, writes [[index, score], ...]."""

import json
import sys

import voyageai

asked = json.load(sys.stdin)
client = voyageai.Client(api_key=asked["key"], base_url=f"{asked['url']}/v1")
found = client.rerank(asked["query"], asked["documents"], model="tiny", top_k=3)
print(json.dumps([[one.index, one.relevance_score] for one in found.results]))
