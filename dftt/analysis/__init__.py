"""What records say: the summary, comparisons with intervals, and the verdict of a study."""
