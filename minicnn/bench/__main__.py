"""The measured process: python -m minicnn.bench OPTIONS, the options as JSON; a record is a line of JSON."""

import json
import sys

from .runs import Options, records


def main(options: str) -> int:
    try:
        for record in records(Options(**json.loads(options))):
            print(json.dumps(record), flush=True)
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, RuntimeError, MemoryError) as problem:
        print(json.dumps({"kind": "error", "text": str(problem) or type(problem).__name__}), flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
