"""Queries: written, given, filtered."""
