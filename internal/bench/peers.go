package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// peer is another gateway that may be installed. Its processes are a single one with
// a single thread, pinned like Caddy's.
type peer struct {
	Name    string   // of the command, on PATH
	Args    []string // after it, with {$BENCH_DIR}; the configuration is in peerConfig there
	Version []string // arguments to be told its version
}

// peerConfig is the name of a peer's configuration file, in {$BENCH_DIR}.
const peerConfig = "config"

var (
	haproxy = peer{Name: "haproxy", Args: []string{"-db", "-f", "{$BENCH_DIR}/" + peerConfig}, Version: []string{"-v"}}
	nginx   = peer{Name: "nginx", Args: []string{"-p", "{$BENCH_DIR}", "-e", "stderr", "-c", "{$BENCH_DIR}/" + peerConfig}, Version: []string{"-v"}}
)

// peerRows do what key-bearer and jwt-…-same do, as far as the peers can: one key
// or a token whose signature, issuer, audience and time are checked; method and path
// judged; another credential set. No promise is made against them.
var peerRows = []row{
	withKey(row{Name: "haproxy", Against: "bare", Program: haproxy, Sends: bearer(vendorKey), Config: haproxyConfig(
		`acl known req.hdr(authorization) -m str "Bearer {$BENCH_KEY}"
	http-request deny deny_status 401 unless known`)}),
	withKey(row{Name: "nginx", Against: "bare", Program: nginx, Sends: bearer(vendorKey), Config: nginxConfig}),
	withToken(row{Name: "haproxy-rs256", Against: "bare", Program: haproxy, Tokens: tokens{Algorithm: "RS256", Count: 1}, Config: haproxyConfig(haproxyToken("RS256"))}),
	withToken(row{Name: "haproxy-es256", Against: "bare", Program: haproxy, Tokens: tokens{Algorithm: "ES256", Count: 1}, Config: haproxyConfig(haproxyToken("ES256"))}),
}

// haproxyConfig is HAProxy with this check of the caller.
func haproxyConfig(check string) string {
	return `global
	nbthread 1
defaults
	mode http
	timeout connect 10s
	timeout client 1m
	timeout server 1m
	http-reuse always
frontend bench
	bind {$BENCH_ADDRESS}
	` + check + `
	http-request deny deny_status 403 unless { path_beg /v1/ } { method GET POST }
	http-request set-header Authorization "Bearer {$BENCH_VENDOR}"
	default_backend vendor
backend vendor
	server vendor {$BENCH_UPSTREAM}
`
}

// haproxyToken checks what jwt_verify checks of these rows' tokens. (HAProxy 2.6 configuration
// manual, section 7.3.1: jwt_header_query, jwt_payload_query, jwt_verify.)
func haproxyToken(algorithm string) string {
	return `http-request set-var(txn.token) http_auth_bearer
	http-request set-var(txn.alg) var(txn.token),jwt_header_query('$.alg')
	http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')
	http-request set-var(txn.now) date()
	http-request deny deny_status 401 unless { var(txn.alg) -m str ` + algorithm + ` }
	http-request deny deny_status 401 unless { var(txn.token),jwt_payload_query('$.iss') -m str ` + tokenIssuer + ` }
	http-request deny deny_status 401 unless { var(txn.token),jwt_payload_query('$.aud[0]') -m str ` + tokenAudience + ` }
	http-request deny deny_status 401 if { var(txn.exp),sub(txn.now) -m int lt 0 }
	http-request deny deny_status 401 unless { var(txn.token),jwt_verify(txn.alg,"{$BENCH_DIR}/` + algorithm + `.pem") -m int 1 }`
}

const nginxConfig = `daemon off;
master_process off;
worker_processes 1;
pid {$BENCH_DIR}/pid;
error_log stderr warn;
events {
	worker_connections 1024;
}
http {
	access_log off;
	client_body_temp_path {$BENCH_DIR}/body;
	proxy_temp_path {$BENCH_DIR}/proxy;
	fastcgi_temp_path {$BENCH_DIR}/fastcgi;
	uwsgi_temp_path {$BENCH_DIR}/uwsgi;
	scgi_temp_path {$BENCH_DIR}/scgi;
	keepalive_requests 1000000000;
	map_hash_bucket_size 256;
	map $http_authorization $caller {
		default "";
		"Bearer {$BENCH_KEY}" bench;
	}
	upstream vendor {
		server {$BENCH_UPSTREAM};
		keepalive 64;
		keepalive_requests 1000000000;
	}
	server {
		listen {$BENCH_ADDRESS};
		location / {
			return 403;
		}
		location /v1/ {
			if ($caller = "") {
				return 401;
			}
			limit_except GET POST {
				deny all;
			}
			proxy_pass http://vendor;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Authorization "Bearer {$BENCH_VENDOR}";
		}
	}
}
`

// command is the peer with the row's configuration, in which the variables (NAME=value)
// are set.
func (p peer) command(r row, dir string, vars []string) (*exec.Cmd, error) {
	var pairs []string
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		pairs = append(pairs, "{$"+name+"}", value)
	}
	fill := strings.NewReplacer(pairs...)
	args := make([]string, len(p.Args))
	for i, arg := range p.Args {
		args[i] = fill.Replace(arg)
	}
	err := os.WriteFile(filepath.Join(dir, peerConfig), []byte(fill.Replace(r.Config)), 0o600)
	return exec.Command(p.Name, args...), err
}

// withoutMissing takes off the rows whose program is not installed, and names those
// programs.
func withoutMissing(all []row) (found []row, missing []string) {
	for _, r := range all {
		if r.Program.Name != "" {
			if _, err := exec.LookPath(r.Program.Name); err != nil {
				missing = append(missing, r.Name)
				continue
			}
		}
		found = append(found, r)
	}
	return found, missing
}

// version is the first line of what the command says of itself.
func (p peer) version() string {
	said, err := exec.Command(p.Name, p.Version...).CombinedOutput()
	line, _, _ := strings.Cut(string(said), "\n")
	if err != nil {
		return fmt.Sprintf("%s: %v", p.Name, err)
	}
	return strings.TrimPrefix(line, "nginx version: ")
}
