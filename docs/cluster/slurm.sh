#!/usr/bin/env bash
# Run a study on the nodes of a Slurm job, or resume an interrupted study.
#
#   STUDY=paper-split-mnist RESULTS=/shared/split-mnist sbatch slurm.sh [options of ngm-tune run]
#
#   STUDY     a study of `ngm-tune studies` or a TOML file; default: quickstart
#   RESULTS   a path that every node mounts, or a URI such as s3://bucket/study; default: results/
#             and the name of the study, in the folder in which sbatch is called
#   RAY_PORT  Ray's port on the first node; default: 6379. The next port is used as well
#   RAY_TEMP  the parent of Ray's temporary folder, on the disk of each node; default: /tmp. The path
#             must be short, because it becomes part of the names of sockets
#
# Two minutes before the time limit, and after each SIGUSR1 from Slurm, ngm-tune stops gracefully and
# this script queues the job again. If the job loses a node or is preempted, Slurm queues it again.
# Every start resumes the study.
#
#SBATCH --job-name=ngm-tune
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

# Make `ray` and `ngm-tune` available on every node here, for example:
# source /shared/venv/bin/activate

set -u
STUDY=${STUDY:-quickstart}
RESULTS=${RESULTS:-results/$(basename "$STUDY" .toml)}
RAY_PORT=${RAY_PORT:-6379}
export RAY_USAGE_STATS_ENABLED=0
if [ -n "${RAY_AUTH_TOKEN:-}" ] || [ -s "${RAY_AUTH_TOKEN_PATH:-${HOME:-}/.ray/auth_token}" ]; then
  export RAY_AUTH_MODE="${RAY_AUTH_MODE:-token}"
fi

asked='' # received signals that request a stop
tune=''  # process of ngm-tune
# shellcheck disable=SC2329 # called by the traps
stop() {
  asked+=$1
  if [ -n "$tune" ]; then
    kill -USR1 "$tune" 2>/dev/null
  fi
}
trap 'stop USR1' USR1
trap 'stop TERM' TERM

cpus=${SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}
others=$((SLURM_JOB_NUM_NODES - 1))
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
ip=$(getent ahostsv4 "$first" | awk '$1 !~ /^127\./ { print $1; exit }')
ip=${ip:-$(hostname -I | awk '{ print $1 }')}
address=${ip:-127.0.0.1}:$RAY_PORT
temp=$(mktemp -d "${RAY_TEMP:-/tmp}/ray-XXXXXX") || exit 1

# End only the processes that this script started, unlike `ray stop`.
steps=()
end_ray() {
  trap '' USR1 TERM
  if [ ${#steps[@]} -gt 0 ]; then
    if ! kill -0 "${steps[0]}" 2>/dev/null; then
      cat "$temp/head.log" >&2 # it ended on its own
    fi
    kill "${steps[@]}" 2>/dev/null
    wait "${steps[@]}"
  fi
  if [ ${#steps[@]} -gt 1 ]; then
    srun --nodes="$others" --ntasks="$others" --exclude="$first" rm -rf "$temp"
  fi
  rm -rf "$temp"
}
trap end_ray EXIT

if (: <"/dev/tcp/${address%:*}/$RAY_PORT") 2>/dev/null; then
  echo "slurm.sh: port $RAY_PORT of $first is in use; choose another one with RAY_PORT" >&2
  exit 2
fi
ray start --head --block --node-ip-address="${address%:*}" --port="$RAY_PORT" \
  --ray-client-server-port=$((RAY_PORT + 1)) --num-cpus="$cpus" --include-dashboard=false \
  --log-color=false --temp-dir="$temp" >"$temp/head.log" 2>&1 &
steps+=($!)
# Ray writes this file when the head is ready.
until [ -e "$temp/ray_current_cluster" ] || [ -n "$asked" ]; do
  if ! kill -0 "${steps[0]}" 2>/dev/null; then
    exit 1
  fi
  sleep 0.5
done
if [ "$others" -gt 0 ] && [ -z "$asked" ]; then
  srun --nodes="$others" --ntasks="$others" --ntasks-per-node=1 --exclude="$first" \
    --cpus-per-task="$cpus" --kill-on-bad-exit=0 \
    ray start --block --log-color=false --address="$address" --num-cpus="$cpus" \
    --temp-dir="$temp" &
  steps+=($!)
fi

code=130
if [ -z "$asked" ]; then
  ngm-tune run "$STUDY" --results "$RESULTS" --address "$address" "$@" &
  tune=$!
  before=none
  while [ "$before" != "$asked" ]; do # a signal also ends `wait`
    before=$asked
    wait "$tune"
    code=$?
  done
fi

end_ray
trap - EXIT
case $code,$asked in
  # 138: SIGUSR1 arrived before ngm-tune installed its handler. After SIGTERM alone, Slurm decides
  # whether to start the job again; it does not after scancel.
  130, | 130,*USR1* | 138,*USR1*) scontrol requeue "$SLURM_JOB_ID" ;;
esac
exit "$code"
