#!/bin/sh
# Fail unless the Caddy binary lists rr's modules: proof that the plugin is
# linked in and registers itself. Usage: modules.sh BINARY
set -eu

listed=$("$1" list-modules)
status=0
for module in rr http.handlers.rr_verify http.handlers.rr_inject http.handlers.rr_api \
	http.reverse_proxy.transport.rr caddy.logging.encoders.rr \
	rr.verifiers.key rr.injectors.bearer rr.stores.bolt admin.api.rr; do
	if printf '%s\n' "$listed" | grep -qxF "$module"; then
		echo "$module"
	else
		echo "$module is missing in $1" >&2
		status=1
	fi
done
exit $status
