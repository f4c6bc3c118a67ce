"""Telling others where a job goes: what may be reached, how it is signed, when it is tried again. No vendor, no HTTP and no storage here."""
