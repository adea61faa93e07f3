package docs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// material are keys and certificates that stand in for those that pages name.
type material struct {
	ec, rsa, ed, public, jwks, google string
	cert, key                         string
}

var made *material

// newMaterial makes them, once for all tests.
func newMaterial(t *testing.T) *material {
	t.Helper()
	if made == nil {
		made = makeMaterial(t)
	}
	return made
}

func makeMaterial(t *testing.T) *material {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m := &material{ec: privatePEM(t, ec), rsa: privatePEM(t, big), ed: privatePEM(t, ed)}
	public, err := x509.MarshalPKIXPublicKey(ec.Public())
	if err != nil {
		t.Fatal(err)
	}
	m.public = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	point := public[len(public)-64:]
	m.jwks = fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":"%s","y":"%s"}]}`,
		base64.RawURLEncoding.EncodeToString(point[:32]), base64.RawURLEncoding.EncodeToString(point[32:]))
	google, err := json.Marshal(map[string]string{"type": "service_account", "client_email": "gateway@project.iam.gserviceaccount.com",
		"private_key_id": "k1", "private_key": m.rsa, "token_uri": "https://oauth2.googleapis.com/token"})
	if err != nil {
		t.Fatal(err)
	}
	m.google = string(google)
	cert, key := rrtest.NewCA(t).Files(t, "gateway.example.com")
	m.cert, m.key = readPage(t, cert), readPage(t, key)
	return m
}

func privatePEM(t *testing.T, key crypto.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

var (
	envPlaceholder  = regexp.MustCompile(`\{(?:env\.|\$)(\w+)`)
	filePlaceholder = regexp.MustCompile(`\{file\.(/[^}]+)\}`)
	plainPath       = regexp.MustCompile(`(^|[\s"])(/(?:etc|run|srv|var)/[\w./-]+)`)
)

// sandbox returns a configuration whose files are in a folder of the test, and sets its
// variables. What is in them goes with the options that they are for.
func sandbox(t *testing.T, text string) string {
	t.Helper()
	m, folder := newMaterial(t), t.TempDir()
	var b strings.Builder
	for line := range strings.Lines(text) {
		for _, name := range envPlaceholder.FindAllStringSubmatch(line, -1) {
			t.Setenv(name[1], m.content(line, name[1], text))
		}
		line = filePlaceholder.ReplaceAllStringFunc(line, func(placeholder string) string {
			path := strings.TrimSuffix(strings.TrimPrefix(placeholder, "{file."), "}")
			return "{file." + write(t, folder, path, m.content(line, path, text)) + "}"
		})
		line = plainPath.ReplaceAllStringFunc(line, func(found string) string {
			if strings.Contains(found, folder) {
				return found
			}
			at := strings.IndexByte(found, '/')
			return found[:at] + write(t, folder, found[at:], m.content(line, found[at:], text))
		})
		b.WriteString(line)
	}
	return b.String()
}

func write(t *testing.T, folder, path, content string) string {
	t.Helper()
	file := filepath.Join(folder, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// content is what goes with the option that a line is about.
func (m *material) content(line, name, text string) string {
	sum := sha256.Sum256([]byte(name))
	words := " " + strings.Join(strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\n\"{}[]:,", r) }), " ") + " "
	has := func(list ...string) bool {
		for _, w := range list {
			if strings.Contains(words, " "+w+" ") {
				return true
			}
		}
		return false
	}
	switch {
	case has("encryption_key") || strings.HasSuffix(name, "rr_key"):
		return base64.StdEncoding.EncodeToString(sum[:])
	case has("private_key") && strings.Contains(text, "RS256"):
		return m.rsa
	case has("private_key") && (strings.Contains(text, "ed25519") || strings.Contains(text, "EdDSA")):
		return m.ed
	case has("private_key"):
		return m.ec
	case has("public_key"):
		return m.public
	case has("jwks"):
		return m.jwks
	case has("credentials") && strings.HasSuffix(name, ".json"):
		return m.google
	case has("key") && (strings.HasSuffix(name, ".key") || strings.HasSuffix(name, ".pem")):
		return m.key
	case has("ca", "certificate", "trust_pool", "tls_trust_pool", "file") || strings.HasSuffix(name, ".pem") || strings.HasSuffix(name, ".crt"):
		return m.cert
	}
	return "x" + hex.EncodeToString(sum[:24])
}
