"""Job and plan files, the resolved job, framework profiles, and the shape of a prediction."""
