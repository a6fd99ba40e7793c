"""Pipeline schedules as lists of actions for every rank."""
