"""tamis behind Milvus: python examples/behind/with_milvus.py BEIR_FOLDER OUT MODEL ENCODER"""

import sys

from pymilvus import MilvusClient
from sentence_transformers import SentenceTransformer

from loop import passage, put_behind

encoder = SentenceTransformer(sys.argv[4])
client = MilvusClient(f"{sys.argv[2]}.db")  # Milvus Lite; of a server: MilvusClient("http://localhost:19530")
FIELDS = ["_id", "title", "text"]


def index(documents):
    vectors = encoder.encode([passage(one) for one in documents], normalize_embeddings=True)
    client.drop_collection("tamis_example")
    settings = {"metric_type": "COSINE", "max_length": 512, "consistency_level": "Strong"}
    client.create_collection("tamis_example", vectors.shape[1], "_id", "string", **settings)
    for place in range(0, len(documents), 500):  # a server takes 64 MiB in a request
        pairs = zip(documents[place : place + 500], vectors[place : place + 500], strict=True)
        made = [{key: one[key] for key in FIELDS} | {"vector": vector} for one, vector in pairs]
        client.insert("tamis_example", made)


def search(query, depth=20):
    vector = encoder.encode("query: " + query, normalize_embeddings=True)
    (hits,) = client.search("tamis_example", [vector], limit=depth, output_fields=FIELDS)
    return [hit["entity"] for hit in hits], [hit["distance"] for hit in hits]  # by COSINE and IP higher is nearer


def dump():
    pages = client.query_iterator("tamis_example", 1000, output_fields=FIELDS)
    while page := pages.next():
        yield from ({key: one[key] for key in FIELDS} for one in page)


if __name__ == "__main__":
    put_behind("milvus", "milvus", index, search, dump, *sys.argv[1:4])
