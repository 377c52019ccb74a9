"""Figures on judged questions."""
