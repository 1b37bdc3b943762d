"""`python -m tests.fuzz [FUZZER...] [--count N] [--seed S]`: so many inputs for each fuzzer.

Exit status 1 where something was found; the input is shown, a line for `cases/<fuzzer>`.
"""

import argparse
import asyncio
import logging
import sys
import time
from random import Random

from tests.fuzz import ALL
from tests.fuzz.judging import cases, Found, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="FUZZER", help=f"of {', '.join(ALL)}; all of them")
    parser.add_argument("--count", type=int, default=100_000, help="datagrams; of what is dearer, fewer in proportion (100000)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9)
    parser.add_argument("--minutes", type=float, default=0.0, help="again with the next seed, until these are over")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in ALL]
    if unknown:
        parser.error(f"no such fuzzer: {', '.join(unknown)}")
    logging.disable(logging.WARNING)
    end = time.monotonic() + 60 * given.minutes
    total = dict.fromkeys(given.names or ALL, 0)
    while True:
        for name in total:
            make, part = ALL[name]
            count = max(1, int(given.count * part))
            began = time.process_time()
            try:
                asyncio.run(run(make(Random(given.seed)), count, cases(name)))
            except Found as found:
                print(f"{name}, seed {given.seed}: {found}")
                return 1
            total[name] += count
            spent = time.process_time() - began
            print(f"{name}: {total[name]:,} inputs, seed {given.seed}, {spent / count * 1e6:,.0f} µs each", flush=True)
        given.seed += 1
        if time.monotonic() >= end:
            return 0


if __name__ == "__main__":
    sys.exit(main())
