"""Copies of everything that the service must not lose, in a folder of the operator's, and the way back."""
