"""What scores a query and a document for the student to learn from."""
