"""What the job runs on: accelerators, network levels, nodes, clusters, and the catalogue of them."""
