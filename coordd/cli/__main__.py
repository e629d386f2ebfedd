"""``python -m coordd.cli``: the same as ``coordctl``."""

import sys

from coordd.cli import main

sys.exit(main())
