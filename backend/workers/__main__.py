"""`python -m dreamlift.workers`: how the service starts a worker. It reads its orders from standard input."""

from dreamlift.workers.main import run_worker

if __name__ == "__main__":
    run_worker()
