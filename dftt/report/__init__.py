"""The report of one run or several: one HTML file that needs nothing else, made from records alone."""
