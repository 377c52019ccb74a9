"""Pages: the report of a run and of an evaluation."""
