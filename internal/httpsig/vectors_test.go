package httpsig

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// The request of RFC 9421 appendix B.2.
const (
	vectorBody   = `{"hello": "world"}`
	vectorDigest = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"
	vectorSecret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
)

func vectorRequest(t testing.TB) *http.Request {
	t.Helper()
	r, err := http.NewRequest("POST", "https://example.com/foo?param=Value&Pet=dog", strings.NewReader(vectorBody))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Date", "Tue, 20 Apr 2021 02:07:55 GMT")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Content-Digest", vectorDigest)
	return r
}

// ttrpRequest is what the proxy of appendix B.3 sends on.
func ttrpRequest(t testing.TB) *http.Request {
	r := vectorRequest(t)
	r.URL.Host, r.Host = "service.internal.example", "service.internal.example"
	r.Header.Set("Client-Cert", ttrpCertificate)
	return r
}

// demoRequest is the one of appendix B.4.
func demoRequest(t testing.TB) *http.Request {
	t.Helper()
	r, err := http.NewRequest("GET", "https://example.org/demo?name1=Value1&Name2=value2", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header["Accept"] = []string{"application/json", "*/*"}
	return r
}

const ttrpCertificate = ":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:"

// vector is one of appendix B: the parameters that lead to the published members. That
// a published signature is right over our base, by a verifier that is not ours, says that
// the base is right.
type vector struct {
	section, label, key string
	components          string
	parameters          Parameters
	request             func(testing.TB) *http.Request
	input, signature    string
	base                string
	deterministic       bool
}

var created = time.Unix(1618884473, 0)

var vectors = []vector{
	{
		section: "B.2.1", label: "sig-b21", key: "test-key-rsa-pss", components: "", request: vectorRequest,
		parameters: Parameters{Created: created, KeyID: "test-key-rsa-pss", Nonce: "b3k2pp5k7z-50gnwp.yemd"},
		input:      `sig-b21=();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd"`,
		signature:  `sig-b21=:d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==:`,
		base:       `"@signature-params": ();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd"`,
	},
	{
		section: "B.2.2", label: "sig-b22", key: "test-key-rsa-pss", components: "@authority content-digest @query-param;name=Pet", request: vectorRequest,
		parameters: Parameters{Created: created, KeyID: "test-key-rsa-pss", Tag: "header-example"},
		input:      `sig-b22=("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example"`,
		signature:  `sig-b22=:LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==:`,
		base: `"@authority": example.com
"content-digest": ` + vectorDigest + `
"@query-param";name="Pet": dog
"@signature-params": ("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example"`,
	},
	{
		section: "B.2.3", label: "sig-b23", key: "test-key-rsa-pss", request: vectorRequest,
		components: "date @method @path @query @authority content-type content-digest content-length",
		parameters: Parameters{Created: created, KeyID: "test-key-rsa-pss"},
		input:      `sig-b23=("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss"`,
		signature:  `sig-b23=:bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==:`,
		base: `"date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@query": ?param=Value&Pet=dog
"@authority": example.com
"content-type": application/json
"content-digest": ` + vectorDigest + `
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss"`,
	},
	{
		section: "B.2.5", label: "sig-b25", key: "test-shared-secret", components: "date @authority content-type", request: vectorRequest, deterministic: true,
		parameters: Parameters{Created: created, KeyID: "test-shared-secret"},
		input:      `sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`,
		signature:  `sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:`,
		base: `"date": Tue, 20 Apr 2021 02:07:55 GMT
"@authority": example.com
"content-type": application/json
"@signature-params": ("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`,
	},
	{
		section: "B.2.6", label: "sig-b26", key: "test-key-ed25519", components: "date @method @path @authority content-type content-length", request: vectorRequest, deterministic: true,
		parameters: Parameters{Created: created, KeyID: "test-key-ed25519"},
		input:      `sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`,
		signature:  `sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:`,
		base: `"date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`,
	},
	{
		section: "B.3", label: "ttrp", key: "test-key-ecc-p256", components: "@path @query @method @authority client-cert", request: ttrpRequest,
		parameters: Parameters{Created: created, KeyID: "test-key-ecc-p256"},
		input:      `ttrp=("@path" "@query" "@method" "@authority" "client-cert");created=1618884473;keyid="test-key-ecc-p256"`,
		signature:  `ttrp=:xVMHVpawaAC/0SbHrKRs9i8I3eOs5RtTMGCWXm/9nvZzoHsIg6Mce9315T6xoklyy0yzhD9ah4JHRwMLOgmizw==:`,
		base: `"@path": /foo
"@query": ?param=Value&Pet=dog
"@method": POST
"@authority": service.internal.example
"client-cert": ` + ttrpCertificate + `
"@signature-params": ("@path" "@query" "@method" "@authority" "client-cert");created=1618884473;keyid="test-key-ecc-p256"`,
	},
	{
		section: "B.4", label: "transform", key: "test-key-ed25519", components: "@method @path @authority accept", request: demoRequest, deterministic: true,
		parameters: Parameters{Created: created, KeyID: "test-key-ed25519"},
		input:      `transform=("@method" "@path" "@authority" "accept");created=1618884473;keyid="test-key-ed25519"`,
		signature:  `transform=:ZT1kooQsEHpZ0I1IjCqtQppOmIqlJPeo7DHR3SoMn0s5JZ1eRGS0A+vyYP9t/LXlh5QMFFQ6cpLt2m0pmj3NDA==:`,
		base: `"@method": GET
"@path": /demo
"@authority": example.org
"accept": application/json, */*
"@signature-params": ("@method" "@path" "@authority" "accept");created=1618884473;keyid="test-key-ed25519"`,
	},
}

func parseAll(t testing.TB, components string) []Component {
	t.Helper()
	var list []Component
	for _, text := range strings.Fields(components) {
		c, err := ParseComponent(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

func pemKey(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name + ".pem")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// vectorKey is the key of appendix B.1 and its public part, or the secret itself.
func vectorKey(t testing.TB, name string) (*Key, any) {
	t.Helper()
	if name == "test-shared-secret" {
		secret, err := base64.StdEncoding.DecodeString(vectorSecret)
		if err != nil {
			t.Fatal(err)
		}
		k, err := NewHMAC(secret)
		if err != nil {
			t.Fatal(err)
		}
		return k, secret
	}
	data := pemKey(t, name)
	k, err := ParseKey(data, "")
	if err != nil {
		t.Fatal(err)
	}
	private, _, err := parsePEM(data)
	if err != nil {
		t.Fatal(err)
	}
	return k, private.(crypto.Signer).Public()
}

// verify checks a member of Signature with the standard library.
func verify(alg string, public any, base, member string) error {
	_, value, ok := strings.Cut(member, "=:")
	if !ok {
		return fmt.Errorf("%q is no member of Signature", member)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(value, ":"))
	if err != nil {
		return err
	}
	sum256, sum384, sum512 := sha256.Sum256([]byte(base)), sha512.Sum384([]byte(base)), sha512.Sum512([]byte(base))
	ok = false
	switch alg {
	case Ed25519:
		ok = ed25519.Verify(public.(ed25519.PublicKey), []byte(base), raw)
	case ECDSAP256:
		ok = len(raw) == 64 && ecdsa.Verify(public.(*ecdsa.PublicKey), sum256[:], new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:]))
	case ECDSAP384:
		ok = len(raw) == 96 && ecdsa.Verify(public.(*ecdsa.PublicKey), sum384[:], new(big.Int).SetBytes(raw[:48]), new(big.Int).SetBytes(raw[48:]))
	case RSAPSS:
		return rsa.VerifyPSS(public.(*rsa.PublicKey), crypto.SHA512, sum512[:], raw, &rsa.PSSOptions{SaltLength: 64})
	case RSAv15:
		return rsa.VerifyPKCS1v15(public.(*rsa.PublicKey), crypto.SHA256, sum256[:], raw)
	case HMAC:
		k, _ := NewHMAC(public.([]byte))
		again, _ := k.sign([]byte(base))
		ok = string(again) == string(raw)
	}
	if !ok {
		return fmt.Errorf("the signature is wrong")
	}
	return nil
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.section, func(t *testing.T) {
			k, public := vectorKey(t, v.key)
			r, components := v.request(t), parseAll(t, v.components)
			base, _, err := Base(r, components, v.parameters)
			if err != nil {
				t.Fatal(err)
			}
			if base != v.base {
				t.Errorf("the base is\n%s\nwant\n%s", base, v.base)
			}
			if err := verify(k.Algorithm(), public, base, v.signature); err != nil {
				t.Errorf("the published signature: %v", err)
			}
			input, signature, err := Sign(r, v.label, components, v.parameters, k)
			if err != nil {
				t.Fatal(err)
			}
			if input != v.input {
				t.Errorf("Signature-Input\n%s\nwant\n%s", input, v.input)
			}
			if v.deterministic && signature != v.signature {
				t.Errorf("Signature\n%s\nwant\n%s", signature, v.signature)
			}
			if err := verify(k.Algorithm(), public, base, signature); err != nil {
				t.Errorf("our signature: %v", err)
			}
		})
	}
}

// TestTransformations are those of appendix B.4: what a signature outlives and what not.
func TestTransformations(t *testing.T) {
	v := vectors[len(vectors)-1]
	for _, tt := range []struct {
		name   string
		change func(r *http.Request)
		same   bool
	}{
		{"nothing", func(*http.Request) {}, true},
		{"a field and a parameter more", func(r *http.Request) {
			r.Header.Set("Accept-Language", "en-US,en;q=0.5")
			r.URL.RawQuery += "&param=added"
		}, true},
		{"one line for two", func(r *http.Request) { r.Header["Accept"] = []string{"application/json, */*"} }, true},
		{"the host in capitals, with its port", func(r *http.Request) { r.Host = "EXAMPLE.org:443" }, true},
		{"another method and host", func(r *http.Request) { r.Method, r.Host = "POST", "example.com" }, false},
		{"the lines the other way round", func(r *http.Request) { r.Header["Accept"] = []string{"*/*", "application/json"} }, false},
		{"another port", func(r *http.Request) { r.Host = "example.org:80" }, false},
	} {
		r := demoRequest(t)
		tt.change(r)
		base, _, err := Base(r, parseAll(t, v.components), v.parameters)
		if err != nil {
			t.Fatal(err)
		}
		if (base == v.base) != tt.same {
			t.Errorf("%s: the base is\n%s", tt.name, base)
		}
	}
}

// TestDigests are the examples of RFC 9530 appendix B and of RFC 9421 appendix B.2.
func TestDigests(t *testing.T) {
	for _, tt := range []struct{ algorithm, content, want string }{
		{SHA256, "{\"hello\": \"world\"}\n", "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"},
		{SHA256, "", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"},
		{SHA512, vectorBody, vectorDigest},
	} {
		if got, err := Digest(tt.algorithm, []byte(tt.content)); err != nil || got != tt.want {
			t.Errorf("%s of %q: %s, %v", tt.algorithm, tt.content, got, err)
		}
	}
	if _, err := Digest("md5", nil); err == nil {
		t.Error("md5 is a digest")
	}
}
