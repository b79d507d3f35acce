"""What evolution is compared with: random search, and exhaustive search of small spaces."""

from __future__ import annotations

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.rng import generator
from ofa_toolkit.search.archive import Archive, SearchResult
from ofa_toolkit.search.operators import Operators
from ofa_toolkit.search.problem import SearchProblem

LARGEST_EXHAUSTIVE = 20_000_000
_CHUNK_ROWS = 65_536


def random_search(problem: SearchProblem, *, num_evaluations: int, seed: int = 0) -> SearchResult:
    """The best of so many random subnets, drawn as in `sample_population`, the extremes among them."""
    archive = Archive(problem)
    operators = Operators(problem.space)
    random = generator(seed, "search", "random")
    while archive.num_evaluations < num_evaluations:
        count = min(_CHUNK_ROWS, num_evaluations - archive.num_evaluations)
        archive.evaluate(operators.sample(count, random))
    return archive.result()


def exhaustive_search(problem: SearchProblem) -> SearchResult:
    """The best of all subnets.

    Raises:
        ConfigError: The space is too large.
    """
    operators = Operators(problem.space)
    if operators.num_subnets > LARGEST_EXHAUSTIVE:
        raise ConfigError(
            f"'{problem.space.name}' has {operators.num_subnets:.1e} subnets; "
            f"exhaustive search takes at most {LARGEST_EXHAUSTIVE:.0e}.",
            hint="Use --method evolution, or restrict the space with --fix and --max.",
        )
    archive = Archive(problem)
    for population in operators.everything(_CHUNK_ROWS):
        archive.evaluate(population)
    return archive.result()
