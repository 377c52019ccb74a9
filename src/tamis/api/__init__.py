"""What `import tamis` offers beside `Reranker`: adapt, run and evaluate from Python, with functions of one's own."""
