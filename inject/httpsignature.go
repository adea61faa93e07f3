package inject

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/httpsig"
	"github.com/caddy-rr/caddy-rr/store/secret"

	"github.com/caddy-rr/caddy-rr/internal/host"
)

func init() { caddy.RegisterModule(new(HTTPSignature)) }

// HTTPSignature signs requests (HTTP Message Signatures, RFC 9421), for each attempt: what
// of a request is covered is what the upstream gets. What the caller signed itself is
// removed.
type HTTPSignature struct {
	// The key's name (keyid) by which the upstream finds the key to verify with: text or a
	// placeholder {env.NAME} or {file./absolute/path}.
	KeyID secret.Template `json:"keyid,omitempty"`
	// The algorithm: ed25519, ecdsa-p256-sha256, ecdsa-p384-sha384, rsa-pss-sha512,
	// rsa-v1_5-sha256 or hmac-sha256. Default: what goes with the key, rsa-pss-sha512 for RSA.
	Algorithm string `json:"algorithm,omitempty"`
	// The private key that signs: a placeholder for PEM (PKCS#8, PKCS#1, SEC 1). Required,
	// unless there is a secret.
	PrivateKey secret.String `json:"private_key,omitempty"`
	// The shared secret that signs, instead of a private key: a placeholder.
	Secret secret.String `json:"secret,omitempty"`
	// How the secret is written, if not as it is: base64. Default: as it is.
	SecretEncoding string `json:"secret_encoding,omitempty"`
	// What is covered: @method, @target-uri, @authority, @scheme, @request-target, @path,
	// @query, @query-param;name="…" and names of header fields; with ? behind it a field is
	// covered if the request has it. content-digest is computed. Default: @method,
	// @authority, @path, @query and content-digest?, which means where there is a body.
	Components []string `json:"components,omitempty"`
	// The signature's label. Default: sig1.
	Label string `json:"label,omitempty"`
	// For how long a signature is good, at most 24h, which its parameter expires says.
	// Default: it says nothing.
	TTL caddy.Duration `json:"ttl,omitempty"`
	// Put a random nonce into each signature.
	Nonce bool `json:"nonce,omitempty"`
	// The application that the signature is for, its parameter tag.
	Tag string `json:"tag,omitempty"`
	// Say the algorithm in the signature's parameter alg.
	Alg bool `json:"alg,omitempty"`
	// The hash of Content-Digest (RFC 9530): sha-256 or sha-512. Default: sha-256.
	ContentDigest string `json:"content_digest,omitempty"`
	// How many bytes of a body are kept in memory to compute its digest, at most 64 MiB.
	// Requests with larger ones are refused. Default: 1 MiB.
	MaxBody int64 `json:"max_body,omitempty"`

	covered []httpsig.Component
	digest  bool // content-digest is among them
	keys    atomic.Pointer[signatureKey]
	now     func() time.Time
}

// signatureKey is a key and its name, which change together.
type signatureKey struct {
	*httpsig.Key
	id string
}

const (
	contentDigest   = "content-digest"
	maxSignatureTTL = 24 * time.Hour
)

// defaultComponents are all that decides what a request does, whoever it passes on its way.
var defaultComponents = []string{"@method", "@authority", "@path", "@query", contentDigest + "?"}

// CaddyModule returns the Caddy module information.
func (*HTTPSignature) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".http_signature", New: func() caddy.Module { return new(HTTPSignature) }}
}

// Provision checks the options and reads the key.
func (h *HTTPSignature) Provision(ctx caddy.Context) error {
	if err := h.check(); err != nil {
		return err
	}
	if h.Label == "" {
		h.Label = "sig1"
	}
	if h.ContentDigest == "" {
		h.ContentDigest = httpsig.SHA256
	}
	if h.MaxBody == 0 {
		h.MaxBody = defaultSignedBody
	}
	h.covered, _ = parseComponents(h.Components)
	h.digest = slices.ContainsFunc(h.covered, isContentDigest)
	h.now = time.Now
	log := ctx.Logger(h)
	return together(ctx, []part{
		{option: "keyid", text: string(h.KeyID), public: true, absent: true},
		{option: "private_key", text: string(h.PrivateKey), absent: true},
		{option: "secret", text: string(h.Secret), absent: true},
	}, func(err error) {
		log.Error("a changed secret of http_signature cannot be used; those from before stay in use", zap.Error(err))
	}, h.use)
}

// check tells what cannot be, without secrets.
func (h *HTTPSignature) check() error {
	switch {
	case (h.PrivateKey == "") == (h.Secret == ""):
		return errors.New("http_signature needs a private_key or a secret to sign with, and not both")
	case h.Algorithm != "" && !slices.Contains(httpsig.Algorithms, h.Algorithm):
		return fmt.Errorf("algorithm %q is unknown; there are: %s", h.Algorithm, strings.Join(httpsig.Algorithms, ", "))
	case h.Algorithm != "" && (h.Algorithm == httpsig.HMAC) != (h.Secret != ""):
		return fmt.Errorf("algorithm %s goes with a %s", h.Algorithm, map[bool]string{true: "secret", false: "private_key"}[h.Algorithm == httpsig.HMAC])
	case h.SecretEncoding != "" && h.SecretEncoding != "base64":
		return fmt.Errorf("a secret is written as it is or as base64, not as %q", h.SecretEncoding)
	case h.SecretEncoding != "" && h.Secret == "":
		return errors.New("secret_encoding is for a secret; there is none")
	case h.ContentDigest != "" && h.ContentDigest != httpsig.SHA256 && h.ContentDigest != httpsig.SHA512:
		return fmt.Errorf("content_digest is %s or %s, not %q", httpsig.SHA256, httpsig.SHA512, h.ContentDigest)
	case h.TTL < 0 || time.Duration(h.TTL) > maxSignatureTTL || h.TTL > 0 && time.Duration(h.TTL) < time.Second:
		return errors.New("ttl is from 1s to 24h")
	}
	covered, err := parseComponents(h.Components)
	if err != nil {
		return err
	}
	if (h.ContentDigest != "" || h.MaxBody != 0) && !slices.ContainsFunc(covered, isContentDigest) {
		return errors.New("content_digest and max_body are for bodies that are covered; add content-digest to components")
	}
	if h.Label != "" {
		if err := httpsig.CheckLabel(h.Label); err != nil {
			return fmt.Errorf("label %q: %w", h.Label, err)
		}
	}
	if err := httpsig.CheckText(h.Tag); err != nil {
		return fmt.Errorf("tag: %w", err)
	}
	return checkSignedBody(h.MaxBody)
}

func parseComponents(texts []string) ([]httpsig.Component, error) {
	if len(texts) == 0 {
		texts = defaultComponents
	}
	covered := make([]httpsig.Component, len(texts))
	for i, text := range texts {
		c, err := httpsig.ParseComponent(text)
		if err != nil {
			return nil, fmt.Errorf("components: %w", err)
		}
		same := func(other httpsig.Component) bool { return other.Identifier() == c.Identifier() }
		if slices.ContainsFunc(covered[:i], same) {
			return nil, fmt.Errorf("components: %s is there twice", text)
		}
		covered[i] = c
	}
	return covered, nil
}

func isContentDigest(c httpsig.Component) bool { return c.Name == contentDigest }

// use takes over the key and its name at once.
func (h *HTTPSignature) use(values []string) (err error) {
	k := &signatureKey{id: values[0]}
	if err := httpsig.CheckText(k.id); err != nil {
		return fmt.Errorf("keyid: %w", err)
	}
	if h.Secret == "" {
		if k.Key, err = httpsig.ParseKey([]byte(unfolded(values[1])), h.Algorithm); err != nil {
			return fmt.Errorf("private_key: %w", err)
		}
	} else {
		raw := []byte(values[2])
		if h.SecretEncoding == "base64" {
			if raw, err = base64.StdEncoding.DecodeString(values[2]); err != nil {
				return errors.New("secret: it is not base64")
			}
		}
		if k.Key, err = httpsig.NewHMAC(raw); err != nil {
			return fmt.Errorf("secret: %w", err)
		}
	}
	h.keys.Store(k)
	return nil
}

// Slots implements Slotted.
func (h *HTTPSignature) Slots() []Slot {
	slots := []Slot{{InHeader, "Signature"}, {InHeader, "Signature-Input"}}
	if h.digest {
		slots = append(slots, Slot{InHeader, "Content-Digest"})
	}
	return slots
}

// Inject implements Injector.
func (h *HTTPSignature) Inject(r *http.Request) error {
	if err := asItLeaves(r); err != nil {
		return err
	}
	if h.digest {
		if err := h.addDigest(r); err != nil {
			return err
		}
	}
	k, now := h.keys.Load(), h.now()
	p := httpsig.Parameters{Created: now, KeyID: k.id, Tag: h.Tag}
	if h.TTL > 0 {
		p.Expires = now.Add(time.Duration(h.TTL))
	}
	if h.Nonce {
		p.Nonce = rand.Text()
	}
	if h.Alg {
		p.Alg = k.Algorithm()
	}
	input, signature, err := httpsig.Sign(r, h.Label, h.covered, p, k.Key)
	if err != nil {
		return err
	}
	r.Header.Set("Signature-Input", input)
	r.Header.Set("Signature", signature)
	return nil
}

// addDigest computes Content-Digest over the body as it is sent. A body that there is not
// has one only if that has to be covered.
func (h *HTTPSignature) addDigest(r *http.Request) error {
	body, whole, err := wholeBody(r, h.MaxBody)
	if err != nil {
		return err
	}
	if !whole {
		return fmt.Errorf("the body has more than the %d bytes that are kept to compute its digest; raise max_body, or leave content-digest out of components", h.MaxBody)
	}
	if len(body) == 0 && slices.ContainsFunc(h.covered, func(c httpsig.Component) bool { return isContentDigest(c) && c.Optional }) {
		return nil
	}
	digest, err := httpsig.Digest(h.ContentDigest, body)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Digest", digest)
	return nil
}

// UnmarshalCaddyfile sets up the injector from Caddyfile tokens. Syntax:
//
//	present http_signature {
//		keyid          <id>
//		algorithm      <name>
//		private_key    <key>
//		secret         <secret> [base64]
//		components     <component>...
//		label          <label>
//		ttl            <duration>
//		nonce
//		tag            <text>
//		alg
//		content_digest sha-256|sha-512
//		max_body       <size>
//	}
func (h *HTTPSignature) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the kind
	if d.NextArg() {
		return d.Err("http_signature takes its options in a block: keyid, and private_key or secret")
	}
	for d.NextBlock(0) {
		if err := h.option(d); err != nil {
			return err
		}
	}
	if err := h.check(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// option reads one option, standing at its name.
func (h *HTTPSignature) option(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "keyid":
		return host.OnceText(d, (*string)(&h.KeyID))
	case "algorithm":
		return host.OnceText(d, &h.Algorithm)
	case "private_key":
		return onceSecret(d, &h.PrivateKey)
	case "secret":
		args := d.RemainingArgs()
		if len(args) < 1 || len(args) > 2 || h.Secret != "" {
			return d.Err("secret is said once: secret <secret> [base64]")
		}
		h.Secret = secret.String(args[0])
		if len(args) == 2 {
			h.SecretEncoding = args[1]
		}
		return nil
	case "components":
		args := d.RemainingArgs()
		if len(args) == 0 || len(h.Components) > 0 {
			return d.Err("components is said once, with what is covered: components @method @authority @path content-digest?")
		}
		h.Components = args
		return nil
	case "label":
		return host.OnceText(d, &h.Label)
	case "ttl":
		return host.OnceDuration(d, &h.TTL)
	case "nonce":
		return onceFlag(d, &h.Nonce)
	case "tag":
		return host.OnceText(d, &h.Tag)
	case "alg":
		return onceFlag(d, &h.Alg)
	case "content_digest":
		return host.OnceText(d, &h.ContentDigest)
	case "max_body":
		return onceSize(d, &h.MaxBody)
	}
	return d.Errf("unrecognized option %q of http_signature; there are: keyid, algorithm, private_key, secret, components, label, ttl, nonce, tag, alg, content_digest, max_body", d.Val())
}

// Interface guards
var (
	_ caddy.Provisioner     = (*HTTPSignature)(nil)
	_ caddyfile.Unmarshaler = (*HTTPSignature)(nil)
	_ Injector              = (*HTTPSignature)(nil)
	_ Slotted               = (*HTTPSignature)(nil)
)
