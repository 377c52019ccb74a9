"""Evaluation of models on judged sets: sets → candidates → scores → runs → figures → tables."""
