"""Tamis rerankers in the clothes of other libraries; each module needs its library, nothing else does."""
