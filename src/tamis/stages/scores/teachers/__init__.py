"""Who teaches: bi-encoders, rerankers, judges, here and behind servers."""
