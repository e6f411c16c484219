"""The types of quicdist as the program of a user sees them."""
