"""The index models by name; `index` is the one that trades unless configuration says otherwise."""

from collections.abc import Mapping

from services.pricer.models import mixture, random_walk, runbook
from services.pricer.models.contract import IndexModel

DEFAULT = mixture.NAME
MODELS: Mapping[str, IndexModel] = {
    mixture.NAME: mixture,
    runbook.NAME: runbook,
    random_walk.NAME: random_walk,
}
