"""Studies that put a question to the solvers many times: sweeps over jobs, and what other hardware would change."""
