"""Tell a person: by a program, a webhook, apprise or the desktop; each action in a file of its own.

Whatever may hang, leak or grow large runs in a child process, which is killed at its deadline (``child.py``).
What an action says of itself and of its failures holds no secret.
"""
