"""Constants of the cost model fitted to measurements."""
