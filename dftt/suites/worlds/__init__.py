"""A suite without end: documents about worlds that do not exist, with questions whose answers a program can check.

Every document is drawn from a seed, so none of it can have been seen in training; and a share of its facts contradicts
what is commonly known, which tells a model that reads from one that remembers.

Names, sentences and templates are kept apart from those of the training corpora in `dftt_tools/corpus`: nothing is
imported from there, invented names hold consonant pairs that names there cannot hold (see `draw.Names`), and a test
compares the vocabularies.
"""

from dftt.suites.worlds.document import estimate_tokens
from dftt.suites.worlds.generate import generate_tasks, to_row
from dftt.suites.worlds.spec import CATEGORIES, VERSION, WorldsSpec

__all__ = ["CATEGORIES", "VERSION", "WorldsSpec", "estimate_tokens", "generate_tasks", "to_row"]
