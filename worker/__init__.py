"""What trains: claims a job, runs it in a child process, brings back facts and files. Depends on `service`, never the reverse."""
