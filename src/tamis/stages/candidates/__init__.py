"""Candidates: what the first stages find."""
