"""Measure the machine that coordd runs on: psutil readings made into one system sample."""
