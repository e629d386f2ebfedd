"""Being here puts this directory on sys.path, so that tests share the fakes beside it (fake_coordd.py)."""
