"""`python -m kdns`: the same as the command `kdns`."""

import sys

from kdns.cli import main

sys.exit(main())
