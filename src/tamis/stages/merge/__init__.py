"""One model from many."""
