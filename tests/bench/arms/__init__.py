"""One file per theme, each with what it measures against."""
