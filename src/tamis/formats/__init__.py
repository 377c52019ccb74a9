"""Files of other people's making: documents, queries, training files and runs, read and written."""
