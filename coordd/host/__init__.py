"""The machine coordd runs on: psutil readings made into one system sample."""
