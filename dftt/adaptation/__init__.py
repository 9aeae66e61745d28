"""How a draft learns: block losses, test-time training on one context, and the text a new draft is trained on."""
