"""Models as blocks of operators over named axes: specification, families, presets, Hugging Face import."""
