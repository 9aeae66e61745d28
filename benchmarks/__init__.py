"""Measurements of speed and memory: both sides in one run, on a named shape or the bundled pair."""

import dftt  # noqa: F401 - before torch: it says how threads wait for each other
