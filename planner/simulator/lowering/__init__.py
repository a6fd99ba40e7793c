"""From a priced layout and a schedule to the program of a whole step."""
