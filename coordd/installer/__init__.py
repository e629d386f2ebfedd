"""Install, remove and show coordd as a service of systemd or launchd: ``coordd service``.

A tool beside the daemon: it may know values and configuration, and asks the daemon as any client does; of the
daemon's inside it knows nothing. What is to be done is a list of steps (steps.py), made by pure functions
(systemd.py, launchd.py) and carried out, or only shown, by one executor. A further service is a row in
services.py.
"""
