"""Chosen shardings of operator graphs, run on real DTensors and compared with one process and with what was priced."""
