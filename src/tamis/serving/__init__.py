"""`tamis serve`: one server that every rerank client speaks to."""
