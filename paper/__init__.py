"""The manuscript: text, tables and figures from the records of studies, every number with its trace."""
