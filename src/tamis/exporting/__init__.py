"""Out of the door: a reranker in a form that another engine loads, scored again there before it counts as done."""
