#!/bin/sh
# Tell coordd that a session of Claude Code lives: 'coordctl hooks install' has it called as "hook EVENT".
#
# It touches an empty file named after the session and the event, and nothing else: it reads no input, keeps
# nothing of what it is given, prints nothing, and exits 0 whatever happens, for any other answer could hold
# up an agent.

set +eu

# Only what Claude Code's session ids look like may become the name of a file.
is_session() {
    case $1 in
        *[!0123456789abcdefABCDEF-]*) return 1 ;;
        ????????-????-????-????-????????????) return 0 ;;
    esac
    return 1
}

# make FOLDER: make the file if it does not exist, and fail if it does. An existing file is never opened: a link
# or a FIFO that somebody puts in its place meanwhile is not followed (noclobber: O_EXCL, see open(2)).
make() {
    file=$1/$session.$event
    if [ -L "$file" ] || [ -e "$file" ]; then
        return 1
    fi
    set -C
    true >"$file"
}

# clean FOLDER: remove what sessions left there a week ago and before.
clean() {
    for name in heartbeat PreToolUse PostToolBatch PermissionRequest Question Stop StopFailure SessionStart SessionEnd; do
        set -- "$@" -o -name "????????-????-????-????-????????????.$name"
    done
    folder=$1
    shift 2
    find "$folder" -maxdepth 1 -type f -size 0 -mtime +6 \( "$@" \) -delete
}

tell() {
    make "$1" && file=
    [ "$event" = SessionStart ] && clean "$1"
}

# The folder that the user's coordd reads.
tell_user() {
    case ${XDG_STATE_HOME:-}:${HOME:-} in
        /*) state=$XDG_STATE_HOME ;;
        *:/*)
            [ -d "$HOME" ] || return
            state=$HOME/.local/state
            ;;
        *) return ;;
    esac
    folder=$state/coordd/hooks
    umask 077
    [ -d "$folder" ] || mkdir -p "$folder"
    if [ -d "$folder" ]; then
        tell "$folder"
        users=$file
    fi
}

# The project, for a coordd outside the container in which this runs: only where it is a workspace already.
tell_project() {
    case ${CLAUDE_PROJECT_DIR:-} in
        /*) ;;
        *) return ;;
    esac
    claude=$CLAUDE_PROJECT_DIR/.claude
    for folder in "$claude" "$claude/coordination" "$claude/coordination/agents"; do
        if [ -L "$folder" ] || [ ! -d "$folder" ]; then
            return
        fi
    done
    umask 022
    tell "$claude/coordination/agents"
    projects=$file
}

main() {
    session=${CLAUDE_CODE_SESSION_ID:-}
    is_session "$session" || return
    case ${1:-} in
        PostToolUse) event=heartbeat ;;
        PreToolUse | PostToolBatch | PermissionRequest | Question | Stop | StopFailure | SessionStart | SessionEnd)
            event=$1
            ;;
        *) return ;;
    esac
    users= projects=
    tell_user
    tell_project
    # -h: of a link, not of what it leads to; -c: what is gone is not made
    if [ -n "$users$projects" ]; then
        touch -h -c ${users:+"$users"} ${projects:+"$projects"}
    fi
}

main "$@" >/dev/null 2>&1
exit 0
