# What stands around the commands of a document while commands.py runs them, in one shell for a document. SCRATCH is its
# folder, and /var, /etc and the like lead in there; PORT, TLS_PORT and the like are free ports of loopback.

export HOME=$SCRATCH ROLLCALL_DATA=$SCRATCH/var/lib/rollcall ROLLCALL_LISTEN=127.0.0.1:$PORT ROLLCALL_URL=http://127.0.0.1:$PORT
server=
trap 'stop' EXIT

# --- files that documents take for granted

echo 'a secret of Entra ID' >"$SCRATCH/etc/rollcall/entra-secret"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=rollcall.example.org" \
    -addext "subjectAltName=DNS:rollcall.example.org" -keyout "$SCRATCH/etc/rollcall/privkey.pem" \
    -out "$SCRATCH/etc/rollcall/fullchain.pem" 2>/dev/null

# --- rollcall itself

# `serve` goes on: it runs behind, the one before is stopped, and what --dev prints is known as TOKEN.
rollcall() {
    case " $* " in
    *" --help "*) rollcall-program "$@" ;;
    *" serve "*) serve "$@" ;;
    *" --follow "* | *" -f "*) timeout 1 rollcall-program "$@" || [ $? = 124 ] ;;
    *) rollcall-program "$@" ;;
    esac
}

serve() {
    stop
    served=("$@")
    rollcall-program "$@" >"$SCRATCH/served" 2>"$SCRATCH/served.log" &
    server=$!
    local tries
    for tries in $(seq 400); do
        if grep -q 'listening on' "$SCRATCH/served"; then
            sleep 0.2 # until all of it is printed
            grep -q 'SCIM token: ' "$SCRATCH/served" && TOKEN=$(sed -n 's/^SCIM token: //p' "$SCRATCH/served")
            cat "$SCRATCH/served"
            return 0
        fi
        kill -0 $server 2>/dev/null || break
        sleep 0.05
    done
    cat "$SCRATCH/served.log" >&2
    server=
    return 1
}

stop() {
    [ -z "$server" ] || { kill "$server" 2>/dev/null; wait "$server" || true; }
    server=
}

# --- what this machine has in another form

# Who asks makes no difference here.
sudo() {
    while [ "${1#-}" != "$1" ]; do
        [ "$1" = -u ] && shift
        shift
    done
    "$@"
}

# The accounts of a real machine aren't here: whose a file is, is left out.
install() {
    local words=()
    while [ $# -gt 0 ]; do
        case "$1" in
        -o | -g) shift ;;
        *) words+=("$1") ;;
        esac
        shift
    done
    command install "${words[@]}"
}

# The service is the server that a document has started, or the usual one.
systemctl() {
    case "$1" in
    stop) stop ;;
    start | restart) serve "${served[@]:-serve}" ;;
    *) elsewhere "systemctl $*" ;;
    esac
}

# A name of the private network is the server with TLS.
curl() { command curl --no-progress-meter --fail-with-body --connect-to "rollcall.internal.example:443:127.0.0.1:$TLS_PORT" "$@"; }

# --- what can't be done here, each with its reason. It is told, so that the list can be read in the test's output.

elsewhere() { printf '\nelsewhere: %s\n' "$*" >&2; }
apt() { elsewhere "apt $*"; }             # would change this machine
apt-get() { elsewhere "apt-get $*"; }     # the same
dpkg() { elsewhere "dpkg $*"; }           # the same; packages have a test of their own
useradd() { elsewhere "useradd $*"; }     # the same
certbot() { elsewhere "certbot $*"; }     # asks Let's Encrypt
docker() { elsewhere "docker $*"; }       # no daemon here
podman() { elsewhere "podman $*"; }       # the same
journalctl() { elsewhere "journalctl $*"; } # no systemd here
cargo() { elsewhere "cargo $*"; }         # built already, and tests/run is what runs this
git() { elsewhere "git $*"; }             # fetches from elsewhere
scp() { elsewhere "scp $*"; }             # another machine
ssh() { elsewhere "ssh $*"; }             # another machine
kcadm.sh() { elsewhere "kcadm.sh $*"; }   # Keycloak's own, at Keycloak
litestream() { elsewhere "litestream $*"; } # in no package of Debian; a copy of file and WAL is tested in tests/it/backup.rs
chronyc() { elsewhere "chronyc $*"; }     # the clock of the machine
timedatectl() { elsewhere "timedatectl $*"; } # the same
chown() { elsewhere "chown $*"; }         # the accounts of a real machine aren't here
