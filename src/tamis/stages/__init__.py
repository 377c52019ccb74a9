"""The arrows of the pipeline: plain functions over records; they open no files and never import each other."""
