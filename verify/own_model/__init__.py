"""All about one model of a user's: fixed, rewritten, covered, proven, timed, and its code."""
