"""A recipe run from documents to a model: the order of the stages, their keys and what they will cost."""
