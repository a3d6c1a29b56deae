"""A program whose workers say that they are at work and then sleep; run by the tests of workers."""

import signal
import sys
import time

from autosegnet.runtime.distribute import run_each
from autosegnet.runtime.exit import run_program
from autosegnet.runtime.workers import Workers


def sleep(seconds: int) -> None:
    print("at work", flush=True)
    time.sleep(seconds)


def main() -> None:
    run_each(sleep, [600] * 5, workers=Workers(jobs=2), unit="job")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as at a terminal, wherever the tests are run
    sys.exit(run_program(main))
