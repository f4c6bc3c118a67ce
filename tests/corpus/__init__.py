"""Specs to check the check with: broken ones, good ones, random ones, and an oracle that knows torch alone."""
