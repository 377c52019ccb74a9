"""Merging whole checkpoint folders, tensor by tensor, whatever trained them."""
