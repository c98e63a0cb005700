#!/usr/bin/env bash
# 100,000 requests against five backends of which one is killed or blackholed every 500 ms, and one is always well: no failure may
# be told before an answer has begun. The chaos part of scripts/reliability.sh, by its own name.
set -euo pipefail
exec "$(dirname "$0")/reliability.sh" chaos
