"""What recipes can name of the embedded model: stages `look` and `talk`, and how own data teach it.

Importing this module registers all three.
"""

from __future__ import annotations

import segue.mini.look.stage
import segue.mini.own.family
import segue.mini.talk.stage  # noqa: F401
