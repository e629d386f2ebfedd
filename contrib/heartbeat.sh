#!/bin/sh
# One heartbeat of a coding agent, for coordd and everybody else who reads .claude/coordination.
#
#   heartbeat.sh [-d WORKSPACE] [--stamp] [--loop SECONDS] AGENT_ID
#
# AGENT_ID      1 to 200 bytes without "/" and not beginning with "."; "-" takes the session_id of the JSON
#               that Claude Code hands to a hook on standard input. Default: $COORDD_AGENT_ID
# -d WORKSPACE  the project directory. Default: $COORDD_WORKSPACE, else the nearest directory at or above the
#               current one that holds .claude/coordination
# --stamp       write the time into the file, for readers other than coordd that look for it there. Without, the
#               file is empty and its mtime is the beat
# --loop N      beat every N seconds until killed. A loop beats on when the agent hangs or dies: where an agent
#               can call hooks, let the hooks beat
#
# A beat empties the file, which is one atomic system call and takes no process but this shell: about a
# millisecond. --stamp writes the time to a hidden file and renames it, so that no reader ever sees half a beat;
# that takes two short processes (one under bash) and several milliseconds. A hook must never stand in its
# agent's way: whatever goes wrong, this prints nothing and exits 0.
#
# Claude Code, .claude/settings.json: a beat at each prompt and around each tool.
#
#   {"hooks": {
#     "UserPromptSubmit": [{"hooks": [{"type": "command",
#       "command": "/path/to/heartbeat.sh -d \"$CLAUDE_PROJECT_DIR\" -"}]}],
#     "PreToolUse":  [{"hooks": [{"type": "command",
#       "command": "/path/to/heartbeat.sh -d \"$CLAUDE_PROJECT_DIR\" -"}]}],
#     "PostToolUse": [{"hooks": [{"type": "command",
#       "command": "/path/to/heartbeat.sh -d \"$CLAUDE_PROJECT_DIR\" -"}]}]
#   }}

exec >/dev/null 2>&1
LC_ALL=C # lengths in bytes
set -C    # a link that waits under the name of the hidden file is not followed
id=${COORDD_AGENT_ID-}
workspace=${COORDD_WORKSPACE-}
every=
stamp=

while [ $# -gt 0 ]; do
  case $1 in
    -d) [ $# -gt 1 ] || exit 0; workspace=$2; shift 2 ;;
    --loop) [ $# -gt 1 ] || exit 0; every=$2; shift 2 ;;
    --stamp) stamp=yes; shift ;;
    --) shift; [ $# -eq 0 ] || id=$1; break ;;
    -?*) exit 0 ;;
    *) id=$1; shift ;;
  esac
done

if [ "$id" = - ]; then
  # the first kilobyte is enough, and a tool's output can be long
  json=$(head -c 1024)
  case $json in *'"session_id"'*) ;; *) exit 0 ;; esac
  id=${json#*'"session_id"'}
  id=${id#*'"'}
  id=${id%%'"'*}
fi
case $id in '' | .* | */* | *[[:cntrl:]]*) exit 0 ;; esac
[ ${#id} -le 200 ] || exit 0
case $every in *[!0-9.]* | . | *.*.*) exit 0 ;; esac

if [ -z "$workspace" ]; then
  workspace=$PWD
  while [ ! -d "$workspace/.claude/coordination" ]; do
    [ -n "$workspace" ] || exit 0
    workspace=${workspace%/*}
  done
fi
agents=$workspace/.claude/coordination/agents
if [ ! -d "$agents" ]; then
  # -p would make a workspace out of a mistyped name
  [ -n "$workspace" ] && [ ! -d "$workspace" ] && exit 0
  mkdir -p "$agents" || exit 0
fi
beat=$agents/$id.heartbeat
half=$agents/.$id.$$

write_time() {
  # bash knows the time by itself (from 4.2 on), which saves a process; any other shell asks date
  # shellcheck disable=SC3045,SC3050
  if [ -n "${BASH_VERSION-}" ] && TZ=UTC0 printf '%(%Y-%m-%dT%H:%M:%SZ)T\n' -1 >"$half"; then
    return 0
  fi
  date -u +%Y-%m-%dT%H:%M:%SZ >"$half"
}

beat_once() {
  # a clone may hold a link here, to a file that a truncation would empty; a rename replaces the link
  if [ -z "$stamp" ] && [ ! -L "$beat" ]; then
    : >|"$beat"
    return
  fi
  { write_time && mv -f "$half" "$beat"; } || rm -f "$half"
}

if [ -z "$every" ]; then
  beat_once
  exit 0
fi

pause=
trap '[ -z "$pause" ] || kill "$pause"; rm -f "$half"; exit 0' HUP INT TERM
while :; do
  beat_once
  sleep "$every" &
  pause=$!
  wait "$pause" || exit 0
done
