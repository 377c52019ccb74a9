"""tamis behind OpenSearch: python examples/behind/with_opensearch.py BEIR_FOLDER OUT MODEL http://localhost:9200"""

import os
import sys

from opensearchpy import OpenSearch, helpers

from loop import put_behind

client = OpenSearch(sys.argv[4], http_auth=os.environ.get("OPENSEARCH_AUTH"))  # user:password


def index(documents):
    made = ({"_index": "tamis_example", "_id": one["_id"], "_source": without_id(one)} for one in documents)
    helpers.bulk(client, made, refresh=True)  # raises where a document is refused


def without_id(document):
    return {key: value for key, value in document.items() if key != "_id"}


def read(hit):
    return {"_id": hit["_id"]} | hit["_source"]


def search(query, depth=20):
    words = {"multi_match": {"query": query, "fields": ["title", "text"]}}
    hits = client.search(index="tamis_example", body={"query": words, "size": depth})["hits"]["hits"]
    return [read(hit) for hit in hits], [hit["_score"] for hit in hits]


def dump():
    yield from map(read, helpers.scan(client, index="tamis_example"))


if __name__ == "__main__":
    put_behind("opensearch", "bm25", index, search, dump, *sys.argv[1:4])
