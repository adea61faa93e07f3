package wire_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/wire"
	"github.com/caddy-rr/caddy-rr/store"
)

// canary is in every secret of the tests, and in nothing that they may show.
const canary = "CANARY-7f3a1c0e91bd22aa"

var now = time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)

// body is JSON of what reads well in a table.
func body(t testing.TB, v any) []byte {
	t.Helper()
	if text, ok := v.(string); ok {
		return []byte(text)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type object = map[string]any

// credential is a body that makes a credential.
func credential(side, authType string, secret object) object {
	made := object{"credentialName": "n", "credentialType": side, "credentialAuthType": authType}
	if secret != nil {
		made["credentialSecret"] = secret
	}
	return made
}

// made is the credential that a body makes.
func made(t testing.TB, v any) (*store.Credential, *wire.Generated) {
	t.Helper()
	c, g, err := wire.DecodeCredential(body(t, v), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.ID, c.Client, c.Version = "0199d3a0-5f1e-7c5a-9d1b-3f5c8e2a7b61", "acme", 7
	c.CreatedAt, c.UpdatedAt = now, now
	return c, g
}

// changed is what a body makes of a credential.
func changed(t testing.TB, v any, old *store.Credential) *store.Credential {
	t.Helper()
	c, _, err := wire.DecodeCredential(body(t, v), old)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// specOf is a credential's spec as JSON.
func specOf(t testing.TB, c *store.Credential) object {
	t.Helper()
	var spec object
	if err := json.Unmarshal(c.Spec, &spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

// load has the kind itself take a spec, as the catalogue does with records.
func load(t testing.TB, c *store.Credential) (any, error) {
	t.Helper()
	storage := body(t, object{"module": "file_system", "root": t.TempDir()})
	ctx, err := caddy.ProvisionContext(&caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}, StorageRaw: storage})
	if err != nil {
		t.Fatal(err)
	}
	l := host.NewRecordLoader(ctx, zap.NewNop(), host.RecordOptions{})
	t.Cleanup(l.Close)
	namespace := "rr.injectors"
	if c.Side == store.ProxySide {
		namespace = "rr.verifiers"
	}
	guest, _, err := l.Guest("credential "+c.Name, namespace, json.RawMessage(c.Spec))
	return guest, err
}

// same compares two values by their JSON.
func same(t testing.TB, got, want any) {
	t.Helper()
	plain := func(v any) (text string, x any) {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		_ = json.Unmarshal(b, &x)
		return string(b), x
	}
	g, gotValue := plain(got)
	w, wantValue := plain(want)
	if !reflect.DeepEqual(gotValue, wantValue) {
		t.Errorf("got  %s\nwant %s", g, w)
	}
}

// expect compares faults with places, each "pointer: a part of the detail".
func expect(t testing.TB, err error, places ...string) {
	t.Helper()
	faults, _ := err.(wire.Faults)
	if err != nil && faults == nil {
		t.Fatalf("%T is not Faults: %v", err, err)
	}
	ok := len(faults) == len(places)
	for i := 0; ok && i < len(places); i++ {
		at, detail, _ := strings.Cut(places[i], ": ")
		ok = faults[i].Pointer == at && strings.Contains(faults[i].Detail, detail)
	}
	if !ok {
		t.Errorf("got\n  %s\nwant\n  %s", strings.ReplaceAll(faults.Error(), "; ", "\n  "), strings.Join(places, "\n  "))
	}
	if err != nil && strings.Contains(err.Error(), canary) {
		t.Errorf("a fault has a secret: %v", err)
	}
}

// keys are made once: RSA takes its time.
var keys = sync.OnceValue(func() (k struct{ rsa, ec, ed, public, certificate string }) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	k.rsa = pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(private), nil)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	k.ec = pemOf("PRIVATE KEY", der, err)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	der, err = x509.MarshalPKCS8PrivateKey(ed)
	k.ed = pemOf("PRIVATE KEY", der, err)
	der, err = x509.MarshalPKIXPublicKey(ec.Public())
	k.public = pemOf("PUBLIC KEY", der, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rr"}, NotAfter: now.AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true}
	der, err = x509.CreateCertificate(rand.Reader, template, template, ec.Public(), ec)
	k.certificate = pemOf("CERTIFICATE", der, err)
	return k
})

func pemOf(kind string, der []byte, err error) string {
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
