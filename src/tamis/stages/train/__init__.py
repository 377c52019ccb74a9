"""Students: a general one, then specialists."""
