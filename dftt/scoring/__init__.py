"""Programs that score an answer: rules for numbers, phrases, mathematics and code, without a judge."""
