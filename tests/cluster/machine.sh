#!/usr/bin/env bash
# A Kubernetes cluster of one node, as the first process of its own process and mount namespaces: when it ends, all that
# runs in the cluster ends, and every mount is gone. The network namespace is the caller's.
# usage: machine.sh STATE KUBERNETES COREDNS NODE_IP     (STATE: an empty directory; the others: programs.py, machine.py)
# It writes "ready" when the node is, and then waits for the end of its standard input.
set -euo pipefail
STATE=$1 KUBERNETES=$2 COREDNS=$3 NODE_IP=$4
PODS=10.252.0.0/24 SERVICES=10.251.0.0/16 DOMAIN=cluster.local
pki=$STATE/pki

kubectl() { "$KUBERNETES" kubectl --kubeconfig "$STATE/admin.kubeconfig" "$@"; }

start() { # NAME COMMAND...: in the background, with a log of its own
  local name=$1
  shift
  "$@" >"$STATE/log/$name" 2>&1 </dev/null &
}

await() { # SECONDS COMMAND...
  local end=$((SECONDS + $1)) what="${*:2}"
  shift
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= end)); then
      echo "not in time: $what"
      tail -n 5 "$STATE"/log/*
      exit 1
    fi
    sleep 0.2
  done
}

network() {
  ip link set lo up
  # A bridge without ports: the address that server, kubelet and pods agree on. Nobody answers on the default route.
  ip link add node0 type bridge
  ip addr add "$NODE_IP/24" dev node0
  ip link set node0 up
  ip route add default via "${NODE_IP%.*}.1" dev node0
}

# The kubelet sets these for the whole machine. Here it sets files of ours, which only this mount namespace sees there.
shield() {
  local name file
  mkdir -p "$STATE/sysctl"
  for name in vm/overcommit_memory vm/panic_on_oom kernel/{panic,panic_on_oops,keys/root_maxkeys,keys/root_maxbytes}; do
    file=$STATE/sysctl/${name//\//.}
    cat "/proc/sys/$name" >"$file"
    mount --bind "$file" "/proc/sys/$name"
  done
}

certificates() {
  mkdir -p "$pki"
  openssl genrsa -out "$pki/accounts.key" 2048
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=cluster -keyout "$pki/ca.key" -out "$pki/ca.crt"
  openssl req -newkey rsa:2048 -nodes -subj /O=system:masters/CN=server -keyout "$pki/client.key" -out "$pki/client.csr"
  openssl x509 -req -in "$pki/client.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 2 \
    -out "$pki/client.crt"
} 2>/dev/null

identities() { # a token each, so that the node's authorisation and the roles are the real ones
  local who user groups token
  while read -r who user groups; do
    token=$(openssl rand -hex 16)
    echo "$token,$user,$who,\"$groups\"" >>"$pki/tokens.csv"
    cat >"$STATE/$who.kubeconfig" <<EOF
apiVersion: v1
kind: Config
clusters: [{name: here, cluster: {server: "https://$NODE_IP:6443", certificate-authority: $pki/apiserver.crt}}]
users: [{name: $who, user: {token: $token}}]
contexts: [{name: here, context: {cluster: here, user: $who}}]
current-context: here
EOF
  done <<EOF
admin admin system:masters
manager system:kube-controller-manager -
scheduler system:kube-scheduler -
kubelet system:node:node system:nodes
proxy system:kube-proxy -
EOF
}

control_plane() {
  start etcd etcd --data-dir "$STATE/etcd" --log-level warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync
  start apiserver "$KUBERNETES" kube-apiserver --etcd-servers http://127.0.0.1:2379 --cert-dir "$pki" \
    --advertise-address "$NODE_IP" --secure-port 6443 --service-cluster-ip-range "$SERVICES" \
    --token-auth-file "$pki/tokens.csv" --client-ca-file "$pki/ca.crt" \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
    --service-account-issuer "https://kubernetes.default.svc.$DOMAIN" \
    --service-account-signing-key-file "$pki/accounts.key" --service-account-key-file "$pki/accounts.key" \
    --kubelet-client-certificate "$pki/client.crt" --kubelet-client-key "$pki/client.key" \
    --kubelet-preferred-address-types InternalIP
  await 90 kubectl get --raw /readyz
  start manager "$KUBERNETES" kube-controller-manager --kubeconfig "$STATE/manager.kubeconfig" --leader-elect=false \
    --use-service-account-credentials --service-account-private-key-file "$pki/accounts.key" \
    --root-ca-file "$pki/apiserver.crt"
  start scheduler "$KUBERNETES" kube-scheduler --kubeconfig "$STATE/scheduler.kubeconfig" --leader-elect=false
}

configuration() {
  mkdir -p "$STATE/cni"
  : >"$STATE/resolv.conf"
  # Without CAP_SYS_RESOURCE nobody here may lower an oom score: hence restrict_oom_score_adj, and oomScoreAdj below.
  cat >"$STATE/containerd.toml" <<EOF
version = 2
root = "$STATE/containerd"
state = "/run/containerd-state"
[grpc]
  address = "$STATE/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "local/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$STATE/cni"
EOF
  cat >"$STATE/cni/10-bridge.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
 {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "$STATE/ipam", "ranges": [[{"subnet": "$PODS"}]],
           "routes": [{"dst": "0.0.0.0/0"}]}}]}
EOF
  # syncFrequency: how soon a changed Secret is in the pods that mount it; a minute by default.
  cat >"$STATE/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix://$STATE/containerd.sock
cgroupDriver: cgroupfs
failSwapOn: false
failCgroupV1: false
oomScoreAdj: 0
syncFrequency: 5s
resolvConf: $STATE/resolv.conf
clusterDomain: $DOMAIN
clusterDNS: [$NODE_IP]
podLogsDir: $STATE/pod-logs
EOF
  # Zeros: those limits are the host's, not this namespace's.
  cat >"$STATE/proxy.yaml" <<EOF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clientConnection: {kubeconfig: $STATE/proxy.kubeconfig}
clusterCIDR: $PODS
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
EOF
  printf '.:53 {\n errors\n cache 5\n kubernetes %s {\n  kubeconfig %s\n }\n}\n' \
    "$DOMAIN" "$STATE/admin.kubeconfig" >"$STATE/Corefile"
}

node() {
  start containerd containerd --config "$STATE/containerd.toml" --log-level warn
  await 30 ctr --address "$STATE/containerd.sock" version
  ctr --address "$STATE/containerd.sock" --namespace k8s.io images import "$STATE/pause.tar" >/dev/null
  start kubelet "$KUBERNETES" kubelet --config "$STATE/kubelet.yaml" --kubeconfig "$STATE/kubelet.kubeconfig" \
    --root-dir "$STATE/kubelet" --cert-dir "$STATE/kubelet-pki" --hostname-override node --node-ip "$NODE_IP"
  start proxy "$KUBERNETES" kube-proxy --config "$STATE/proxy.yaml" --hostname-override node
  start coredns "$COREDNS" -conf "$STATE/Corefile"
  await 60 kubectl get node node
  await 60 kubectl wait --for=condition=Ready node/node --timeout=1s
  await 60 kubectl get serviceaccount default # pods are refused until it is there
}

# What is written there by name is then this cluster's own.
mount -t tmpfs machine /run
mount -t tmpfs machine /var/log
mkdir -p "$STATE/log"
shield
network
certificates
identities
configuration
control_plane
node
echo ready
cat >/dev/null
