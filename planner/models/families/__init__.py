"""One file per building block or family: a ``ModelSpec`` goes in, blocks of operators come out."""
