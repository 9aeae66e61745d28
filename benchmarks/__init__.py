"""Measurements of speed and memory: both sides in one run, on a named shape or the bundled pair."""
