#!/bin/sh
# Starts in the folder of an image what the image and the systemd unit start, see image.sh, in a mount namespace of its
# own: start_in.sh ROOT USER:GROUP MODEL
set -eu
root=$1 user=$2 model=$3
unit=deploy/tamis.service

# What the image and the unit mount; all else is read-only.
mkdir -p "$root/model" "$root/var/lib/tamis/model" "$root/var/cache/tamis"
mount --bind "$root" "$root"
mount --bind "$model" "$root/model"
mount --bind "$model" "$root/var/lib/tamis/model"
for folder in model var/lib/tamis/model; do mount -o remount,bind,ro "$root/$folder"; done
for folder in tmp run cache var/cache/tamis; do mount -t tmpfs -o mode=1777 tmpfs "$root/$folder"; done
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
mknod -m 0666 "$root/dev/null" c 1 3
mknod -m 0666 "$root/dev/urandom" c 1 9
mount -t proc proc "$root/proc"
mount -o remount,bind,ro "$root"

# start NAME USER:GROUP UMASK PORT VARIABLE=... -- COMMAND ...: asks it for an answer, and sees it end with status 0.
start() {
  name=$1 as=$2 mask=$3 port=$4
  shift 4
  variables=""
  while [ "$1" != -- ]; do
    variables="$variables $1"
    shift
  done
  shift
  # shellcheck disable=SC2086
  (
    umask "$mask"
    exec env -i HF_HUB_OFFLINE=1 PATH=/usr/sbin:/usr/bin:/sbin:/bin $variables \
      prlimit --nofile=16384 --core=0 setpriv --no-new-privs --bounding-set=-all,+setuid,+setgid,+sys_chroot \
      chroot --userspec="$as" --groups= "$root" "$@"
  ) &
  server=$!
  trap 'kill -KILL "$server" 2>/dev/null' EXIT
  python3 deploy/check/ask.py "$port"
  kill -TERM "$server"
  wait "$server"
  trap - EXIT
  echo "$name: user $as, read-only root, umask $mask: answered, and ended with status 0"
}

for mask in 077 022; do
  start image "$user" "$mask" 18765 XDG_CACHE_HOME=/cache -- /opt/tamis/bin/tamis serve model=/model --port 18765
done

dynamic=61234 # one of the users that systemd draws for DynamicUser
mkdir -m 0700 "$root/run/credentials"
echo a-key-of-the-check >"$root/run/credentials/keys"
chown -R "$dynamic:$dynamic" "$root/run/credentials" "$root/var/cache/tamis"
# shellcheck disable=SC2016
command=$(sed -n 's/^ExecStart=//p' "$unit" | sed 's#${CREDENTIALS_DIRECTORY}#/run/credentials#; s#--port 8000#--port 18766#')
variables=$(sed -n 's/^Environment=//p' "$unit")
mask=$(sed -n 's/^UMask=//p' "$unit")
# shellcheck disable=SC2086
start unit "$dynamic:$dynamic" "$mask" 18766 $variables -- $command
