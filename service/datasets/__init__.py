"""What an uploaded data set is: its record, its states, where it lies. Pure."""
