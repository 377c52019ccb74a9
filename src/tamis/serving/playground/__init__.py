"""The playground: one page on which a person asks the server's models, and the folder that it may search."""
