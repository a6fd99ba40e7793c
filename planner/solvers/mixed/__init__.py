"""Jobs on clusters with groups: stages on device classes, uneven shares of the batch. Docs: docs/mixed-clusters.md."""
