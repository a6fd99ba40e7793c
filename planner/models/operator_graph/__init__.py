"""Operator graphs: a user's model as operators over named axes, for the choice of a sharding per operator."""
