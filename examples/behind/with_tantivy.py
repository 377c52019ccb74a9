"""tamis behind tantivy: python examples/behind/with_tantivy.py BEIR_FOLDER OUT MODEL"""

import sys

import tantivy

from loop import put_behind

FIELDS = ("_id", "title", "text")
schema = tantivy.SchemaBuilder()
for field in FIELDS:
    schema.add_text_field(field, stored=True, tokenizer_name="raw" if field == "_id" else "default")
collection = tantivy.Index(schema.build())  # in memory; on disk: tantivy.Index(schema.build(), path=FOLDER)


def index(documents):
    writer = collection.writer()
    for one in documents:
        writer.add_document(tantivy.Document(**{field: one[field] for field in FIELDS}))
    writer.commit()
    collection.reload()


def read(searcher, address):
    document = searcher.doc(address)
    return {field: document.get_first(field) for field in FIELDS}


def search(query, depth=20):
    searcher, (parsed, _) = collection.searcher(), collection.parse_query_lenient(query, ["title", "text"])
    hits = searcher.search(parsed, depth).hits
    return [read(searcher, address) for _, address in hits], [score for score, _ in hits]


def dump():
    searcher = collection.searcher()
    for _, address in searcher.search(tantivy.Query.all_query(), max(searcher.num_docs, 1)).hits:
        yield read(searcher, address)


if __name__ == "__main__":
    put_behind("tantivy", "bm25", index, search, dump, *sys.argv[1:4])
