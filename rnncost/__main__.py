"""``python -m rnncost`` is the ``rnncost`` command."""

from __future__ import annotations

import sys

from rnncost.cli.main import main

sys.exit(main())
