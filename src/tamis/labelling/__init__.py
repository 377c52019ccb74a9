"""Questions without judgements become judged ones: pools, the page on which people grade, and a model that grades."""
