"""Training lists: drawn over 16 bins, split by cluster."""
