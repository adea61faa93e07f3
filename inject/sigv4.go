package inject

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/store/secret"

	"github.com/caddy-rr/caddy-rr/internal/host"
)

func init() { caddy.RegisterModule(new(SigV4)) }

// SigV4 signs requests to AWS, and to what takes AWS's signatures (Signature Version 4): the
// method, host, path, query, body, Content-Type and all headers X-Amz-*, for each attempt.
// What the caller signed itself is removed.
type SigV4 struct {
	// The access key's ID: text or a placeholder {env.NAME} or {file./absolute/path}.
	// Required.
	AccessKeyID secret.Template `json:"access_key_id,omitempty"`
	// The secret access key: a placeholder. Required.
	SecretAccessKey secret.String `json:"secret_access_key,omitempty"`
	// The session token of temporary credentials: a placeholder.
	SessionToken secret.String `json:"session_token,omitempty"`
	// The region, such as eu-central-1. Required.
	Region string `json:"region,omitempty"`
	// The service as it is named in signatures, such as s3 or execute-api. Required.
	Service string `json:"service,omitempty"`
	// Sign without the body. S3 takes that, few other services do.
	UnsignedPayload bool `json:"unsigned_payload,omitempty"`
	// How many bytes of a body are kept in memory to sign it, at most 64 MiB. Larger
	// bodies go to S3 unsigned and are refused for other services. Default: 1 MiB.
	MaxBody int64 `json:"max_body,omitempty"`

	maxBody   int64
	ofS3      bool // paths are encoded once, bodies may go unsigned
	tellsHash bool // the service wants X-Amz-Content-Sha256
	covers    func(header string) bool
	keys      atomic.Pointer[awsKeys]
	now       func() time.Time
}

// awsKeys are what one set of secrets signs with. The signer remembers derived keys by
// the access key's ID alone, so another secret needs another signer.
type awsKeys struct {
	credentials aws.Credentials
	signer      *v4.Signer
}

// What stands in a signature instead of a body's hash.
const (
	unsignedPayload = "UNSIGNED-PAYLOAD"
	// a body in AWS's own chunks, with a checksum behind it and without signatures
	unsignedChunks = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// presigned are the query parameters with which a caller may have signed the URL. They are
// no slots: upstreams answer with such URLs, which have to pass.
var presigned = []string{
	"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires",
	"X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Security-Token", "X-Amz-S3session-Token",
}

// CaddyModule returns the Caddy module information.
func (*SigV4) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".sigv4", New: func() caddy.Module { return new(SigV4) }}
}

// Provision checks the options and resolves the secrets.
func (s *SigV4) Provision(ctx caddy.Context) error {
	if err := s.check(); err != nil {
		return err
	}
	s.ofS3 = slices.Contains([]string{"s3", "s3express", "s3-outposts", "s3-object-lambda"}, s.Service)
	s.tellsHash = s.ofS3 || s.Service == "aoss"
	if s.maxBody = s.MaxBody; s.maxBody == 0 {
		s.maxBody = defaultSignedBody
	}
	s.covers, s.now = ofAWS, time.Now
	log := ctx.Logger(s)
	return together(ctx, []part{
		{option: "access_key_id", text: string(s.AccessKeyID), public: true},
		{option: "secret_access_key", text: string(s.SecretAccessKey)},
		{option: "session_token", text: string(s.SessionToken), absent: true},
	}, func(err error) {
		log.Error("a changed secret of sigv4 cannot be used; those from before stay in use", zap.Error(err))
	}, s.use)
}

// check tells what cannot be, without secrets.
func (s *SigV4) check() error {
	switch {
	case s.AccessKeyID == "" || s.SecretAccessKey == "":
		return errors.New("sigv4 needs access_key_id and secret_access_key")
	case s.Region == "" || s.Service == "":
		return errors.New("sigv4 needs region and service, such as `region eu-central-1` and `service s3`")
	}
	for option, text := range map[string]string{"region": s.Region, "service": s.Service} {
		if strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
			return fmt.Errorf("%s %q has other characters than letters, digits and -_.; {$NAME} is replaced when the Caddyfile is read", option, text)
		}
	}
	return checkSignedBody(s.MaxBody)
}

// use takes over the three secrets at once.
func (s *SigV4) use(values []string) error {
	for i, option := range []string{"access_key_id", "secret_access_key", "session_token"} {
		if strings.ContainsFunc(values[i], func(c rune) bool { return c <= ' ' || c >= 0x7f }) ||
			i == 0 && strings.ContainsAny(values[i], "/,=") {
			return fmt.Errorf("%s: it has characters that none has, such as a space or a line break", option)
		}
	}
	s.keys.Store(&awsKeys{
		aws.Credentials{AccessKeyID: values[0], SecretAccessKey: values[1], SessionToken: values[2]},
		v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = s.ofS3 }),
	})
	return nil
}

// Slots implements Slotted.
func (*SigV4) Slots() []Slot {
	var slots []Slot
	for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Content-Sha256", "X-Amz-S3session-Token"} {
		slots = append(slots, Slot{InHeader, name})
	}
	return slots
}

// Inject implements Injector.
func (s *SigV4) Inject(r *http.Request) error {
	if err := asItLeaves(r); err != nil {
		return err
	}
	for _, name := range presigned {
		r.URL.RawQuery = exchange.WithoutParameter(r.URL.RawQuery, name)
	}
	query, err := strictQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	r.URL.RawQuery, r.URL.RawPath = query, strictPath(r.URL.EscapedPath())
	hash, err := s.payload(r)
	if err != nil {
		return err
	}
	if s.tellsHash || len(hash) != 2*sha256.Size {
		r.Header.Set("X-Amz-Content-Sha256", hash)
	}
	return s.sign(r, hash)
}

// ofAWS tells which headers are signed besides Host and Content-Length: those that AWS wants
// signed. Others may be changed, added or removed by whoever is on the way.
func ofAWS(header string) bool {
	const prefix = "X-Amz-"
	return header == "Content-Type" || len(header) > len(prefix) && strings.EqualFold(header[:len(prefix)], prefix)
}

// payload is what stands for the body in the signature.
func (s *SigV4) payload(r *http.Request) (string, error) {
	if inChunks, unsigned := awsChunked(r); inChunks {
		if unsigned && s.ofS3 {
			return unsignedChunks, nil
		}
		return "", errors.New("the caller's body is in AWS's own chunks (aws-chunked) and signed by the caller, or not for S3, and cannot be signed anew; switch chunked or signed payloads off in the caller's SDK")
	}
	if s.UnsignedPayload {
		return unsignedPayload, nil
	}
	body, whole, err := wholeBody(r, s.maxBody)
	switch {
	case err != nil:
		return "", err
	case !whole && s.ofS3:
		return unsignedPayload, nil
	case !whole:
		return "", fmt.Errorf("the body has more than the %d bytes that are kept to sign it; raise max_body, or say unsigned_payload if %s takes that", s.maxBody, s.Service)
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:]), nil
}

// awsChunked tells whether the caller's SDK has framed the body, and whether it did so
// without signing the chunks. The header that says so is a slot, so it is the caller's
// request that has it.
func awsChunked(r *http.Request) (inChunks, unsigned bool) {
	for _, line := range r.Header["Content-Encoding"] {
		inChunks = inChunks || strings.Contains(strings.ToLower(line), "aws-chunked")
	}
	if x := exchange.From(r.Context()); x != nil && x.Input.Request != nil {
		said := x.Input.Request.Header.Get("X-Amz-Content-Sha256")
		return inChunks || strings.HasPrefix(said, "STREAMING-"), said == unsignedChunks
	}
	return inChunks, false
}

// sign writes the signature over r. The signer gets a request of its own, whose query it
// sorts and whose values it may write into.
func (s *SigV4) sign(r *http.Request, hash string) error {
	keys, u := s.keys.Load(), *r.URL
	if s.ofS3 { // object names have no slashes in them
		u.RawPath = strictSegment(u.Path, "/")
	}
	signed := &http.Request{Method: r.Method, URL: &u, Host: r.Host, ContentLength: r.ContentLength, Header: http.Header{}}
	for name, values := range r.Header {
		if s.covers(name) {
			signed.Header[name] = slices.Clone(values)
		}
	}
	if err := keys.signer.SignHTTP(r.Context(), keys.credentials, signed, hash, s.Service, s.Region, s.now()); err != nil {
		return errors.New("the request could not be signed")
	}
	for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token"} {
		if values, ok := signed.Header[name]; ok {
			r.Header[name] = values
		}
	}
	return nil
}

// strictPath encodes a path's segments as signatures have them: all but letters, digits and
// -_.~ is encoded, whatever the caller left as it is. An encoded slash stays one.
func strictPath(escaped string) string {
	segments := strings.Split(escaped, "/")
	for i, segment := range segments {
		text, err := url.PathUnescape(segment)
		if err != nil { // which net/url has refused before
			return escaped
		}
		segments[i] = strictSegment(text, "")
	}
	return strings.Join(segments, "/")
}

// strictQuery encodes a query's names and values in the same way and keeps their order. A
// name without = stays without.
func strictQuery(raw string) (string, error) {
	if raw == "" {
		return "", nil
	}
	var pairs []string
	for _, pair := range strings.Split(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, valued := strings.Cut(pair, "=")
		n, err1 := url.QueryUnescape(name)
		v, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil { // whose text has the value
			return "", errors.New("the query has a % that begins no escape, so AWS could read it in another way than it was signed")
		}
		if pair = strictSegment(n, ""); valued {
			pair += "=" + strictSegment(v, "")
		}
		pairs = append(pairs, pair)
	}
	return strings.Join(pairs, "&"), nil
}

// strictSegment encodes all but letters, digits, -_.~ and the characters that are kept.
func strictSegment(text, keep string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.~"+keep, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

// UnmarshalCaddyfile sets up the injector from Caddyfile tokens. Syntax:
//
//	present sigv4 {
//		access_key_id     <id>
//		secret_access_key <secret>
//		session_token     <token>
//		region            <region>
//		service           <service>
//		unsigned_payload
//		max_body          <size>
//	}
func (s *SigV4) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the kind
	if d.NextArg() {
		return d.Err("sigv4 takes its options in a block: access_key_id, secret_access_key, region, service")
	}
	for d.NextBlock(0) {
		var err error
		switch d.Val() {
		case "access_key_id":
			err = host.OnceText(d, (*string)(&s.AccessKeyID))
		case "secret_access_key":
			err = onceSecret(d, &s.SecretAccessKey)
		case "session_token":
			err = onceSecret(d, &s.SessionToken)
		case "region":
			err = host.OnceText(d, &s.Region)
		case "service":
			err = host.OnceText(d, &s.Service)
		case "unsigned_payload":
			err = onceFlag(d, &s.UnsignedPayload)
		case "max_body":
			err = onceSize(d, &s.MaxBody)
		default:
			err = d.Errf("unrecognized option %q of sigv4; there are: access_key_id, secret_access_key, session_token, region, service, unsigned_payload, max_body", d.Val())
		}
		if err != nil {
			return err
		}
	}
	if err := s.check(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*SigV4)(nil)
	_ caddyfile.Unmarshaler = (*SigV4)(nil)
	_ Injector              = (*SigV4)(nil)
	_ Slotted               = (*SigV4)(nil)
)
