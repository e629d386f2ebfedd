"""Where samples go: bounded, retried, isolated from each other and from sampling."""
