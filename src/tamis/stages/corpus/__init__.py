"""Documents: read, cleaned, each with its language."""
