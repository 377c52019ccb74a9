"""Pre-trained weights that arrive as Python packages, and tamis-base."""
