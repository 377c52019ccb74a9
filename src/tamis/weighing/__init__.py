"""How much the user's own search engine counts beside a model: queries and runs → heads → weights → rows."""
