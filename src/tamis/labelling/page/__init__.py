"""The page for grading: template, style and script."""
