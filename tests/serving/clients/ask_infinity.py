"""infinity's own client: reads {"url", "key", "query", "documents"}, writes [[index, score], ...]."""

import json
import sys

from infinity_client import AuthenticatedClient
from infinity_client.api.default import rerank
from infinity_client.models import RerankInput

asked = json.load(sys.stdin)
body = RerankInput(query=asked["query"], documents=asked["documents"], model="tiny", top_n=3)
with AuthenticatedClient(base_url=asked["url"], token=asked["key"]) as client:
    found = rerank.sync(client=client, body=body)
print(json.dumps([[one.index, one.relevance_score] for one in found.results]))
