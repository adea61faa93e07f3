package catalog

import "github.com/caddy-rr/caddy-rr/internal/host"

// authTypes are the names of kinds that a credential may have been made with, so that the
// view keeps a number for each.
var authTypes = []string{
	"", "key", "apiKey", "bearer", "basic", "basicAuth", "jwt", "jwtVerify", "jwt_verify", "introspect", "mtls", "none",
	"oauth2", "customToken", "custom_token", "custom", "sigv4", "httpSignature", "http_signature",
}

func kindIndex(authType string) uint8 {
	for i, s := range authTypes {
		if s == authType {
			return uint8(i)
		}
	}
	return 0
}

// sameKind reports whether two names are of the same kind.
func sameKind(a, b string) bool { return host.Kind(a) == host.Kind(b) }
