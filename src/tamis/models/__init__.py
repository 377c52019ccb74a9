"""The cross-encoder, the bi-encoder it starts from, and what both share."""
