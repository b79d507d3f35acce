"""The situations, by subject."""

from tests.hints.situation import Situation
from tests.hints.situations.searching import SEARCHING

SITUATIONS: tuple[Situation, ...] = (*SEARCHING,)
