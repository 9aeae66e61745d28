"""How a run is judged: tasks, scoring, metrics, records, statistics and the summary."""
