#!/usr/bin/env bash
# Train on two hosts that are network namespaces of this machine (Linux, root, iproute2), kill a worker of the
# second on the way, and compare the weights with those of the same run without a loss.
#
#     sudo benchmarks/two_hosts.sh [FOLDER]
set -euo pipefail
folder=${1:-$(mktemp -d)}
cleanup() { ip netns del ofa-a 2>/dev/null || true; ip netns del ofa-b 2>/dev/null || true; }
trap cleanup EXIT
cleanup
ip netns add ofa-a
ip netns add ofa-b
ip link add ofa-a netns ofa-a type veth peer name ofa-b netns ofa-b
for host in a b; do
    ip -n ofa-$host link set lo up
    ip -n ofa-$host link set ofa-$host up
done
ip -n ofa-a address add 10.77.0.1/24 dev ofa-a
ip -n ofa-b address add 10.77.0.2/24 dev ofa-b

# on HOST RUN: this host's torchrun
on() {
    exec ip netns exec "ofa-$1" env TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 GLOO_SOCKET_IFNAME="ofa-$1" OMP_NUM_THREADS=1 \
        python -m torch.distributed.run --nnodes 2 --nproc-per-node 1 --max-restarts 2 --rdzv-id "$2" \
        --rdzv-backend c10d --rdzv-endpoint 10.77.0.1:29400 --local-addr "10.77.0.$([ "$1" = a ] && echo 1 || echo 2)" \
        --rdzv-conf "is_host=$([ "$1" = a ] && echo true || echo false)" \
        -m ofa_tk train --recipe deps-compact-cifar10 --epochs 2 --resume auto --out "$folder/$2" \
        --data fake:classes=4,size=32,train=160,test=16 --set data.validation_size=16 \
        --set training.batch_size=16 --set checkpoints.every_steps=2 --set validation.recalibration_images=16 \
        --set tensorboard=false --device cpu
}

run() {
    (on a "$1") >"$folder/$1.a.log" 2>&1 &
    local first=$!
    (on b "$1") >"$folder/$1.b.log" 2>&1 &
    local second=$!
    if [ "$1" = lossy ]; then
        until [ "$(grep -c '"kind": "step"' "$folder/lossy/metrics.jsonl" 2>/dev/null)0" -ge 70 ]; do
            sleep 0.5
        done
        kill -KILL "$(pgrep -P "$second" | head -1)" # the worker, not the torchrun above it
        echo "killed the worker of the second host after $(grep -c '"kind": "step"' "$folder/lossy/metrics.jsonl") updates"
    fi
    wait "$first" "$second"
}

mkdir -p "$folder"
run whole
run lossy
grep -h "Resumed from" "$folder"/lossy.?.log || true
sha256sum "$folder"/{whole,lossy}/supernet/model.safetensors
cmp "$folder"/{whole,lossy}/supernet/model.safetensors && echo "bit-identical"
