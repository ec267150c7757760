#!/usr/bin/env bash
# Starts mongod as the official image of MongoDB documents it: options alone mean mongod; as root it gives the data to the user `mongodb` and goes on as
# that user; new data with MONGO_INITDB_ROOT_USERNAME and MONGO_INITDB_ROOT_PASSWORD (or _FILE for either) gets that administrator from a temporary
# mongod, which listens on loopback only and without the configuration's network, security and replication; then scripts in
# /docker-entrypoint-initdb.d run. With an administrator, mongod requires sign-in.
set -Eeuo pipefail

[[ ${1:-} == -* ]] && set -- mongod "$@"
[ "${1:-}" = mongod ] || exec "$@"

if [ "$(id -u)" = 0 ]; then
    find /data/db /data/configdb ! -user mongodb -exec chown mongodb: {} +
    exec setpriv --reuid mongodb --regid mongodb --clear-groups "$0" "$@"
fi

# from_file NAME: the variable NAME, or the content of the file that NAME_FILE names.
from_file() {
    local file="$1_FILE"
    if [ -n "${!1:-}" ] && [ -n "${!file:-}" ]; then
        echo "$1 and $file are both set; set one of them" >&2
        exit 1
    fi
    [ -z "${!file:-}" ] || printf -v "$1" %s "$(< "${!file}")"
    unset "$file"
}

# option NAME: the value of an option on mongod's command line, in either spelling.
option() {
    local name="$1" previous=
    shift
    for argument; do
        [ "$previous" != "$name" ] || { echo "$argument"; return; }
        [[ $argument != "$name"=* ]] || { echo "${argument#*=}"; return; }
        previous="$argument"
    done
}

from_file MONGO_INITDB_ROOT_USERNAME
from_file MONGO_INITDB_ROOT_PASSWORD
user="${MONGO_INITDB_ROOT_USERNAME:-}"
password="${MONGO_INITDB_ROOT_PASSWORD:-}"
database="${MONGO_INITDB_DATABASE:-test}"
unset MONGO_INITDB_ROOT_USERNAME MONGO_INITDB_ROOT_PASSWORD
if [ -n "$user" ] && [ -z "$password" ] || [ -z "$user" ] && [ -n "$password" ]; then
    echo "MONGO_INITDB_ROOT_USERNAME and MONGO_INITDB_ROOT_PASSWORD belong together; one is missing" >&2
    exit 1
fi

# The configuration without what the temporary mongod must not have, as JSON, which is YAML.
config="$(option --config "${@:2}")"
config="${config:-$(option -f "${@:2}")}"
temporary=/tmp/docker-entrypoint-config.json
data=/data/db
if [ -n "$config" ]; then
    NODE_PATH=/opt/mongosh/node_modules node -e '
        const yaml = require("js-yaml"), fs = require("fs");
        const config = yaml.load(fs.readFileSync(process.argv[1], "utf8")) ?? {};
        for (const part of ["systemLog", "processManagement", "net", "security", "replication"]) delete config[part];
        fs.writeFileSync(process.argv[2], JSON.stringify(config));
        console.log(config.storage?.dbPath ?? "/data/db");' "$config" "$temporary" > /tmp/docker-entrypoint-data
    data="$(< /tmp/docker-entrypoint-data)"
fi
given="$(option --dbpath "${@:2}")"
data="${given:-$data}"

is_new=true
for file in WiredTiger journal local.0 storage.bson; do
    [ ! -e "$data/$file" ] || is_new=false
done
shopt -s nullglob
scripts=(/docker-entrypoint-initdb.d/*)
if $is_new && { [ -n "$user" ] || [ ${#scripts[@]} -gt 0 ]; }; then
    arguments=(--dbpath "$data" --bind_ip 127.0.0.1 --port 27017 --tlsMode disabled)
    [ -z "$config" ] || arguments+=(--config "$temporary")
    mongod "${arguments[@]}" --logpath /proc/1/fd/1 --logappend &
    pid=$!
    shell=(mongosh --host 127.0.0.1 --port 27017 --quiet)
    for attempt in $(seq 60); do
        "${shell[@]}" admin --eval 'quit(0)' > /dev/null 2>&1 && break
        kill -0 "$pid" 2> /dev/null || { echo "the temporary mongod ended" >&2; exit 1; }
        [ "$attempt" != 60 ] || { echo "the temporary mongod does not answer" >&2; exit 1; }
        sleep 0.5
    done
    if [ -n "$user" ]; then
        USER_NAME="$user" USER_PASSWORD="$password" "${shell[@]}" admin --eval '
            db.createUser({ user: process.env.USER_NAME, pwd: process.env.USER_PASSWORD, roles: [{ role: "root", db: "admin" }] })' > /dev/null
    fi
    for script in "${scripts[@]}"; do
        case "$script" in
            *.sh) # shellcheck disable=SC1090
                . "$script" ;;
            *.js) "${shell[@]}" "$database" "$script" ;;
        esac
    done
    kill -TERM "$pid"
    wait "$pid"
    echo "MongoDB init process complete; ready for start up."
fi
rm -f "$temporary" /tmp/docker-entrypoint-data

[ -z "$user" ] || set -- "$@" --auth
[[ " $* " == *" --bind_ip"* || -n "$config" ]] || set -- "$@" --bind_ip_all
exec "$@"
