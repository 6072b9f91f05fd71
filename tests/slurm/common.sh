# SPDX-License-Identifier: Apache-2.0
# Shared by up, down and lab: where a lab's state lies and what its parts are called.
#
# A lab is a folder. Everything the kernel holds for it (network namespaces, cgroups) has a name made from the
# folder's path, so that `down` finds it even if the folder is half written or already gone.

lab_bin=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lab_registry=/run/ray-mpi-labs # one file per lab, named as the lab, holding its folder

die() { echo "slurm lab: $*" >&2; exit 2; }

# Exit status 77 is what ctest and automake call "skipped".
skip() { echo "slurm lab: skipped: $*" >&2; exit 77; }

usage() { sed -n '/^# Usage:/,/^$/{s/^# \{0,1\}//;p}' "$0"; exit "${1:-0}"; }

require_root_and_slurm() {
  [ "$(id -u)" = 0 ] || skip "network and mount namespaces need root (this is uid $(id -u))"
  local tool
  for tool in ip nsenter unshare pgrep munged munge slurmctld slurmd srun sinfo; do
    command -v $tool >/dev/null || skip "$tool is not installed (Debian: slurm-wlm munge iproute2 procps util-linux)"
  done
  unshare --net true 2>/dev/null || skip "this kernel or container does not let us make network namespaces"
}

# Sets lab_folder and lab_name from an explicit folder, $RAY_MPI_LAB, or the only lab that is up.
choose_lab() {
  lab_folder=${1:-${RAY_MPI_LAB:-}}
  if [ -z "$lab_folder" ]; then
    lab_folder=$(cat "$lab_registry"/* 2>/dev/null) || return 1
    [ "$(wc -l <<<"$lab_folder")" = 1 ] || die "several labs are up; say which:" $lab_folder
  fi
  lab_folder=$(realpath -m "$lab_folder")
  lab_name=lab$(printf %s "$lab_folder" | cksum | cut -d' ' -f1)
}

netns() { echo "$lab_name-$1"; }                      # the network namespace of ctl, a node, or the switch
hosts_of_lab() { cat "$lab_folder/names" 2>/dev/null; } # ctl n0 n1 ...
is_node() { grep -qx "n[0-9]*" <<<"$1" && hosts_of_lab | grep -qx "$1"; }

# The pid of a node's init (pid 1 of its pid namespace) as seen from outside.
init_of() { pgrep -P "$(cat "$lab_folder/pid/$1")" | head -n 1; }

# The folder of a host's memory cgroup; empty where the kernel gives us none. Version 1 nests below our own
# group, so that a limit that was put on us also holds for the lab; version 2 forbids that ("no internal
# processes"), there it is a child of the root we can see.
cgroup_of() {
  local own
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    echo "/sys/fs/cgroup/$lab_name-$1"
  elif own=$(grep -m 1 -E '^[0-9]+:([^:]*,)?memory(,[^:]*)?:' /proc/self/cgroup); then
    echo "/sys/fs/cgroup/memory${own##*:}/$lab_name-$1"
  fi
}
