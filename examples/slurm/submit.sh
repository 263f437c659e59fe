#!/bin/bash
# Submits a conversion as a SLURM array, and its publication after it (docs/converting.md).
#
#   ./submit.sh SHARES SOURCE STORE_ROOT [options of drawpoint convert]
#
# AT_ONCE=16      how many tasks run at a time, at most
# TASKS=2,5       submit these tasks again, and the publication; SHARES is as it was before
# VENV, NODE_SCRATCH, SBATCH_ACCOUNT, SBATCH_PARTITION, ... are passed on

set -euo pipefail

if (($# < 3)) || [[ ! $1 =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: $0 SHARES SOURCE STORE_ROOT [options of drawpoint convert]" >&2
  exit 2
fi
export SHARES=$1
shift
folder=$(dirname "${BASH_SOURCE[0]}")

array=$(sbatch --parsable --export=ALL --array="${TASKS:-1-$SHARES}${AT_ONCE:+%$AT_ONCE}" "$folder/convert.sbatch" "$@")
array=${array%%;*} # a cluster's name may follow
# After tasks that failed, too: the publication then says which of them lack.
publication=$(sbatch --parsable --export=ALL --dependency="afterany:$array" "$folder/publish.sbatch" "$@")
echo "array $array converts $SHARES shares; job ${publication%%;*} publishes them"
