"""tamis behind PostgreSQL: python examples/behind/with_postgresql.py BEIR_FOLDER OUT MODEL ENCODER POSTGRESQL_URL"""

import sys

import psycopg
from sentence_transformers import SentenceTransformer

from loop import passage, put_behind

encoder = SentenceTransformer(sys.argv[4])
database = psycopg.connect(sys.argv[5], autocommit=True, row_factory=psycopg.rows.dict_row)
database.execute("SET hnsw.ef_search = 100")  # as many as an index on vectors finds, 40 by default
TABLE = """CREATE TABLE tamis_example (_id text PRIMARY KEY, title text, text text, vector vector({}),
    words tsvector GENERATED ALWAYS AS (to_tsvector('simple', title || ' ' || text)) STORED)"""
HYBRID = """WITH asked AS (SELECT replace(plainto_tsquery('simple', %(query)s)::text, '&', '|')::tsquery AS any_word),
    worded AS (SELECT _id, ts_rank_cd(words, any_word, 1) AS score FROM tamis_example, asked WHERE words @@ any_word
        ORDER BY score DESC LIMIT 50),
    near AS (SELECT _id, vector <=> %(vector)s AS distance FROM tamis_example ORDER BY distance LIMIT 50),
    by_words AS (SELECT _id, 1.0 / (60 + row_number() OVER (ORDER BY score DESC)) AS part FROM worded),
    by_vector AS (SELECT _id, 1.0 / (60 + row_number() OVER (ORDER BY distance)) AS part FROM near)
SELECT _id, title, text, coalesce(by_words.part, 0) + coalesce(by_vector.part, 0) AS score FROM by_words
    FULL JOIN by_vector USING (_id) JOIN tamis_example USING (_id) ORDER BY score DESC, _id LIMIT %(depth)s"""


def index(documents):
    vectors = encoder.encode([passage(one) for one in documents], normalize_embeddings=True)
    database.execute("CREATE EXTENSION IF NOT EXISTS vector")
    database.execute("DROP TABLE IF EXISTS tamis_example")
    database.execute(TABLE.format(vectors.shape[1]))
    pairs = zip(documents, vectors.tolist(), strict=True)
    made = [(one["_id"], one["title"], one["text"], str(vector)) for one, vector in pairs]
    database.cursor().executemany("INSERT INTO tamis_example VALUES (%s, %s, %s, %s)", made)
    database.execute("CREATE INDEX ON tamis_example USING gin (words)")
    database.execute("CREATE INDEX ON tamis_example USING hnsw (vector vector_cosine_ops)")


def search(query, depth=20):
    vector = str(encoder.encode("query: " + query, normalize_embeddings=True).tolist())
    found = database.execute(HYBRID, {"query": query, "vector": vector, "depth": depth}).fetchall()
    return found, [float(one.pop("score")) for one in found]


def dump():
    yield from database.execute("SELECT _id, title, text FROM tamis_example")


if __name__ == "__main__":
    put_behind("postgresql", "postgresql", index, search, dump, *sys.argv[1:4])
