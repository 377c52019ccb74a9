"""Real corpora and weights that package managers carry, for machines without a model hub."""
