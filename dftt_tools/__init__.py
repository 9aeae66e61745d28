"""Tools beside the package: training text for a draft, and the diagnostic of guidance. Nothing in dftt imports them."""
