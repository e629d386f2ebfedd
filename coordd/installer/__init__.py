"""Install, remove and show coordd as a service of systemd or launchd: ``coordd service``.

A tool beside the daemon: it may import values and configuration, and asks the daemon as any client does; it
does not import the service. Pure functions (systemd.py, launchd.py) make a list of steps (steps.py), and one
executor carries them out or only shows them. A further service is a row in services.py.
"""
