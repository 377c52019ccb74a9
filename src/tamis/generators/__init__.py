"""What writes queries from documents."""
