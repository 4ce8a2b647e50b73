"""The service behind `dreamlift serve`: sessions, keys, job queue, store, files, supervision of workers. No torch."""
