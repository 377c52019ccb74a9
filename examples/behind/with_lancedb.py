"""tamis behind LanceDB: python examples/behind/with_lancedb.py BEIR_FOLDER OUT MODEL ENCODER"""

import sys

import lancedb
from lancedb.index import FTS
from lancedb.query import MatchQuery
from lancedb.rerankers import RRFReranker
from sentence_transformers import SentenceTransformer

from loop import passage, put_behind

encoder = SentenceTransformer(sys.argv[4])
database = lancedb.connect(f"{sys.argv[2]}.lance")


def index(documents):
    vectors = encoder.encode([passage(one) for one in documents], normalize_embeddings=True)
    fields = [{key: one[key] for key in ("_id", "title", "text")} for one in documents]
    made = [one | {"vector": vector} for one, vector in zip(fields, vectors, strict=True)]
    database.create_table("tamis_example", made, mode="overwrite").create_index("text", config=FTS())


def search(query, depth=20):
    vector, table = encoder.encode("query: " + query, normalize_embeddings=True), database.open_table("tamis_example")
    hybrid = table.search(query_type="hybrid").vector(vector).text(MatchQuery(query, "text")).limit(depth)
    found = hybrid.rerank(RRFReranker()).to_list()
    return found, [one["_relevance_score"] for one in found]


def dump():
    for batch in database.open_table("tamis_example").search().select(["_id", "title", "text"]).to_batches(1000):
        yield from batch.to_pylist()


if __name__ == "__main__":
    put_behind("lancedb", "lancedb", index, search, dump, *sys.argv[1:4])
