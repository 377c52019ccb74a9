"""Servers that are asked over HTTP: many requests at a time, tried again, within a budget."""
