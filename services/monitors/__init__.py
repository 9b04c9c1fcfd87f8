"""monitors: watch all the others and say OK, ALERT or NO_DATA."""
