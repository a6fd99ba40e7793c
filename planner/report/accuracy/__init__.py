"""The page on accuracy and the README's table, from the JSON of the validation commands. Docs: docs/validation.md."""
