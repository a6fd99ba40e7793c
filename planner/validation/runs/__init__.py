"""Published training runs: read, expressed as jobs and layouts, predicted, scored."""
