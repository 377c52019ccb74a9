"""tamis behind Qdrant: python examples/behind/with_qdrant.py BEIR_FOLDER OUT MODEL ENCODER"""

import sys

from qdrant_client import QdrantClient, models
from sentence_transformers import SentenceTransformer

from loop import passage, put_behind

encoder = SentenceTransformer(sys.argv[4])
client = QdrantClient(":memory:")  # of a server: QdrantClient(url="http://localhost:6333")


def index(documents):
    vectors = encoder.encode([passage(one) for one in documents], normalize_embeddings=True)
    shape = models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE)
    client.create_collection("tamis_example", vectors_config=shape)
    numbers = range(len(documents))  # ids of Qdrant are numbers or UUIDs; the documents' own stay in their rows
    client.upload_collection("tamis_example", vectors, documents, numbers)


def search(query, depth=20):
    vector = encoder.encode("query: " + query, normalize_embeddings=True)
    points = client.query_points("tamis_example", vector, limit=depth).points
    return [point.payload for point in points], [point.score for point in points]


def dump(after=None):
    while True:
        points, after = client.scroll("tamis_example", limit=1000, offset=after)
        yield from (point.payload for point in points)
        if after is None:
            return


if __name__ == "__main__":
    put_behind("qdrant", "qdrant", index, search, dump, *sys.argv[1:4])
