"""What rerank clients send and expect: one module a dialect, pure functions from body to request to body."""
