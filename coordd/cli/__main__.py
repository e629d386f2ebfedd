"""Run ``coordctl`` as ``python -m coordd.cli``."""

import sys

from coordd.cli import main

sys.exit(main())
