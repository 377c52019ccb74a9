"""Pure functions: losses, merging, sampling, ranking, significance."""
