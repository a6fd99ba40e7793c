"""Array functions of layouts: kernels, collectives, memory, pipeline, step time."""
