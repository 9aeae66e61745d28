"""Training text of the draft without a model: invented documents, public manuals, and prompts."""
