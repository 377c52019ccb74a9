"""LangChain's CohereRerank: reads {"url", "key", "query", "documents"}, writes [[index, score], ...]."""

import json
import sys

from langchain_cohere import CohereRerank
from langchain_core.documents import Document

asked = json.load(sys.stdin)
documents = [Document(text, metadata={"place": place}) for place, text in enumerate(asked["documents"])]
compressor = CohereRerank(base_url=asked["url"], cohere_api_key=asked["key"], model="tiny", top_n=3)
found = compressor.compress_documents(documents, asked["query"])
print(json.dumps([[one.metadata["place"], one.metadata["relevance_score"]] for one in found]))
