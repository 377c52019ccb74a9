"""The command line: a module for each group of commands; `app.py` puts them together."""

from tamis.cli.app import app, main

__all__ = ["app", "main"]
