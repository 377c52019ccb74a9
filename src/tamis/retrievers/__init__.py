"""First stages: BM25, dense, and their fusion."""
