#!/usr/bin/env bash
# A whole consortium on this machine: a coordinator and three phantom hospitals, each its own process,
# train for three rounds with patient-level privacy, over TLS.
#
#     docs/try_consortium.sh [FOLDER [KEY=VALUE …]]
#
# FOLDER must not be there yet (runs/consortium); KEY=VALUE goes to 'fedrounds provision', such as
# port=9443 or mutual_tls=true. Needs 'fedrounds' on the PATH, and nginx.
set -euo pipefail
folder=${1:-runs/consortium}
shift $(($# > 0))
sites=(northfield eastbrook southgate)
training=(experiment=phantom local_steps=2 model.width=8)

end_all() {
    status=$?
    trap - EXIT
    jobs -p | xargs -r kill 2>/dev/null || true
    wait
    exit "$status"
}
trap end_all EXIT
trap 'exit 130' INT TERM

# Bash hears a signal while it waits, and not while a command runs in front.
run() {
    "$@" &
    wait $!
}

# 1. The hospitals' images, and a site.yaml for each, as a simulation makes them.
run fedrounds simulate "${training[@]}" rounds=1 output_dir="$folder/simulated"

# 2. The coordinator makes the consortium, and a start-up kit for each site.
fedrounds provision "sites=[$(IFS=,; echo "${sites[*]}")]" host=127.0.0.1 \
    output_dir="$folder/consortium" "$@"
coordinator=$folder/consortium/coordinator

for site in "${sites[@]}"; do
    # 3. Each site fills its kit in, and makes its own ledger and key.
    kit=$folder/consortium/kits/$site
    sed 's/^genesis: .*/genesis: null/' "$folder/simulated/sites/$site/site.yaml" >"$kit/site.yaml"
    fedrounds ledger init "$kit"
    fedrounds client init "$kit"
    # 4. It sends the public key; with mutual TLS a certificate comes back.
    fedrounds provision register "$coordinator" "$site" "$kit/node.pub"
    if [[ -e $coordinator/certificates/$site.crt ]]; then
        cp "$coordinator/certificates/$site.crt" "$kit/node.crt"
    fi
    # 5. Its process waits for the server.
    fedrounds client "$kit" >"$kit/client.out" 2>&1 &
done

# 6. The server runs the experiment, and ends with it; the sites end with this script.
run fedrounds server "$coordinator" "${training[@]}" rounds=3 output_dir="$folder/run"
echo "results: $folder/run/result.json"
echo "report:  $folder/run/report.html"
echo "sites:   $folder/consortium/kits (each with its ledger, log and audit)"
