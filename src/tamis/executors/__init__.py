"""Where models embed, score and write: in this process, or on a Ray cluster."""
