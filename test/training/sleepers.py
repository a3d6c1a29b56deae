"""A program whose workers say that they are at work and then sleep; run by the tests of workers."""

import signal
import sys
import time

from autosegnet.runtime.exit import run_program
from autosegnet.runtime.workers import do_all


def sleep(seconds: int) -> None:
    print("at work", flush=True)
    time.sleep(seconds)


def main() -> None:
    do_all(sleep, [600] * 5, processes=2, title="sleep", unit="job")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as at a terminal, wherever the tests are run
    sys.exit(run_program(main))
