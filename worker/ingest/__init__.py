"""Reads data that somebody brought: archives, images, arrays, tables. No torch, no credentials, no network; everything in it may be hostile."""
