package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTokensVerifyWithThePublishedKeys(t *testing.T) {
	i, err := newIssuer()
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(i.keys, &set); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		algorithm string
		least     int // bytes of a token, which a test of package verify takes for granted
		most      int
		verify    func(key map[string][]byte, text, signature []byte) bool
	}{
		{"RS256", 800, 950, func(k map[string][]byte, text, signature []byte) bool {
			key := &rsa.PublicKey{N: new(big.Int).SetBytes(k["n"]), E: int(new(big.Int).SetBytes(k["e"]).Int64())}
			sum := sha256.Sum256(text)
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
		}},
		{"ES256", 550, 950, func(k map[string][]byte, text, signature []byte) bool {
			key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, k["x"], k["y"]))
			sum := sha256.Sum256(text)
			return err == nil && len(signature) == 64 &&
				ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
		}},
		{"EdDSA", 550, 950, func(k map[string][]byte, text, signature []byte) bool {
			return ed25519.Verify(k["x"], text, signature)
		}},
	} {
		t.Run(c.algorithm, func(t *testing.T) {
			token, err1 := i.token(c.algorithm)
			other, err2 := i.token(c.algorithm)
			if err1 != nil || err2 != nil || token == other {
				t.Fatalf("two tokens: %q and %q, %v, %v", token, other, err1, err2)
			}
			if len(token) < c.least || len(token) > c.most {
				t.Errorf("it has %d bytes, not %d to %d", len(token), c.least, c.most)
			}
			part := strings.Split(token, ".")
			var header struct{ Alg, Kid string }
			if err := json.Unmarshal(unbase64(t, part[0]), &header); err != nil || header.Alg != c.algorithm {
				t.Fatalf("header %+v: %v", header, err)
			}
			n := slices.IndexFunc(set.Keys, func(k map[string]string) bool { return k["kid"] == header.Kid && k["alg"] == header.Alg })
			if n < 0 {
				t.Fatalf("no key %q in %s", header.Kid, i.keys)
			}
			members := map[string][]byte{}
			for _, name := range []string{"n", "e", "x", "y"} {
				members[name] = unbase64(t, set.Keys[n][name])
			}
			if !c.verify(members, []byte(part[0]+"."+part[1]), unbase64(t, part[2])) {
				t.Error("the signature is not the key's")
			}
		})
	}
}

func TestPublishedFilesHaveTheSameKeys(t *testing.T) {
	i, err := newIssuer()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := i.publish(dir); err != nil {
		t.Fatal(err)
	}
	if set, err := os.ReadFile(filepath.Join(dir, "keys.json")); err != nil || string(set) != string(i.keys) {
		t.Errorf("keys.json is %s, %v", set, err)
	}
	for _, algorithm := range []string{"RS256", "ES256"} {
		text, err := os.ReadFile(filepath.Join(dir, algorithm+".pem"))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		if block == nil {
			t.Fatalf("not PEM: %s", text)
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		token, err := i.token(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		part := strings.Split(token, ".")
		sum, signature := sha256.Sum256([]byte(part[0]+"."+part[1])), unbase64(t, part[2])
		fits := false
		switch key := key.(type) {
		case *rsa.PublicKey:
			fits = rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
		case *ecdsa.PublicKey:
			fits = ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
		}
		if !fits {
			t.Errorf("%s.pem is not the key of its tokens", algorithm)
		}
	}
}

// TestUnseenTokensSuffice has a short run make only as many as it can use, and a long one
// no more than are needed to go round.
func TestUnseenTokensSuffice(t *testing.T) {
	unseen := tokens{Algorithm: "EdDSA", Count: 34_000, Unseen: true}
	for _, c := range []struct {
		o    options
		want int
	}{
		{options{rounds: 3, duration: 300 * time.Millisecond, warmup: 300 * time.Millisecond}, 12_001},
		{options{rounds: 10, duration: 500 * time.Millisecond, warmup: time.Second}, 34_000},
	} {
		if got := unseen.needed(c.o); got != c.want {
			t.Errorf("%+v needs %d, want %d", c.o, got, c.want)
		}
	}
	if got := unseen.most(time.Microsecond); got != 1 {
		t.Errorf("%d requests in a moment", got)
	}
}

func unbase64(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
