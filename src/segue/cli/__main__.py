"""`python -m segue.cli`: the command line without the installed script."""

import sys

from segue.cli import main

sys.exit(main())
