"""Judges: rubrics and an answer in, a score out."""
