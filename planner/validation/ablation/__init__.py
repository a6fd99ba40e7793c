"""What each effect of the cost model is worth: predictions of published runs without it. Docs: docs/validation.md."""
