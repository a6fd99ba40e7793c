"""Tables and plots of predictions, for people."""
