"""The situations, by subject."""

from tests.hints.situation import Situation
from tests.hints.situations.exporting import EXPORTING
from tests.hints.situations.files import FILES
from tests.hints.situations.images import IMAGES
from tests.hints.situations.latency import LATENCY
from tests.hints.situations.searching import SEARCHING
from tests.hints.situations.training import RUNS, TRAINING
from tests.hints.situations.zoo import ZOO_LINES

SITUATIONS: tuple[Situation, ...] = (
    *SEARCHING,
    *FILES,
    *IMAGES,
    *TRAINING,
    *RUNS,
    *EXPORTING,
    *LATENCY,
    *ZOO_LINES,
)
