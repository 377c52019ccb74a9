"""LlamaIndex's CohereRerank: reads {"url", "key", "query", "documents"}, writes [[index, score], ...]."""

import json
import sys

from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.postprocessor.cohere_rerank import CohereRerank

asked = json.load(sys.stdin)
nodes = [NodeWithScore(node=TextNode(text=text, id_=str(place))) for place, text in enumerate(asked["documents"])]
reranker = CohereRerank(base_url=asked["url"], api_key=asked["key"], model="tiny", top_n=3, max_retries=1)
found = reranker.postprocess_nodes(nodes, QueryBundle(asked["query"]))
print(json.dumps([[int(one.node.node_id), one.score] for one in found]))
