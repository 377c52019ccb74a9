"""LlamaIndex's client of TEI: reads {"url", "key", "query", "documents"}, writes [[index, score], ...]."""

import json
import sys

from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

asked = json.load(sys.stdin)
nodes = [NodeWithScore(node=TextNode(text=text, id_=str(place))) for place, text in enumerate(asked["documents"])]
reranker = TextEmbeddingInference(base_url=asked["url"], auth_token=f"Bearer {asked['key']}", top_n=3)
found = reranker.postprocess_nodes(nodes, QueryBundle(asked["query"]))
print(json.dumps([[int(one.node.node_id), one.score] for one in found]))
