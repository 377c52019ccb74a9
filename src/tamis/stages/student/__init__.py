"""The student: its start, its prepared texts, its scores; several stages share it."""
