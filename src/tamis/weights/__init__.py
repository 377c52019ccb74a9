"""Pre-trained weights that arrive as Python packages, and the rerankers that ship."""
