"""Soft labels: what the teacher makes of each candidate."""
