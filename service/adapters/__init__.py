"""Where the outside comes in: one vendor library per file, each turning vendor errors into ours. No rule of the job lives here."""
