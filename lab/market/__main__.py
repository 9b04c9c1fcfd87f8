"""Run the index simulator: python -m lab.market --config FILE."""

import sys

from lab.market.index_app import main

sys.exit(main(sys.argv[1:]))
