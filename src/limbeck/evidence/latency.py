"""How long models take to answer, measured side by side so that the machine's moods strike all alike."""

import time
from collections.abc import Callable, Mapping
from statistics import median


def latencies(answers: Mapping[str, Callable[[], object]], *, rounds: int = 200) -> dict[str, float]:
    """Return the median seconds of each call, the calls interleaved round by round after a warm-up.

    Args:
        answers: functions of no arguments that answer one prepared input and wait for the result.
        rounds: counted calls of each.
    """
    for answer in answers.values():
        for _ in range(max(1, rounds // 10)):
            answer()
    seconds: dict[str, list[float]] = {name: [] for name in answers}
    for _ in range(rounds):
        for name, answer in answers.items():
            start = time.perf_counter()
            answer()
            seconds[name].append(time.perf_counter() - start)
    return {name: median(found) for name, found in seconds.items()}
