"""Baselines that decode a whole answer by themselves; those that only reshape a distribution are rules of guidance."""
