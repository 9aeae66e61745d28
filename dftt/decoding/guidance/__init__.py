"""How other distributions steer the target: where their logits come from (sources), and how they are mixed (rules)."""
