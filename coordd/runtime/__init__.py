"""Handle time, threads and memory: clocks, timers, deadlines, worker threads, backoff."""
