package test

import (
	"crypto/tls"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// Kept connections were found by their host and port alone, so that what was opened with one credential served requests with
// another.
// Sources: apache/apisix#13516, apache/apisix#13553
// Here: Connections belong to their target with its options: two targets at one address with different client certificates never share one, also when
// the certificate of a target changes.
func TestPeer_apisix_13516_ConnectionsBelongToTheirCredential(t *testing.T) {
	setSecrets(t)
	ca := rrtest.NewCA(t)
	var mu sync.Mutex
	var shown []string
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		shown = append(shown, r.URL.Path+" "+hex.EncodeToString(sum256(string(r.TLS.PeerCertificates[0].Raw)))[:16])
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Leaf(t, "127.0.0.1")}, ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	var blocks []string
	want := map[string]string{}
	for _, name := range []string{"one", "two"} {
		cert, key := ca.Files(t, name+".example")
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		want["/"+name] = hex.EncodeToString(sum256(string(pair.Certificate[0])))[:16]
		blocks = append(blocks, "target "+name+" https://"+s.Listener.Addr().String()+" {\ntransport http {\ntls_trust_pool file "+ca.File+"\ntls_client_auth "+cert+" "+key+"\n}\n}",
			strings.Replace(peerProxy(name, vendor), "http://UPSTREAM", name, 1))
	}
	g := start(t, proxies(blocks...))
	for range 10 {
		for _, name := range []string{"one", "two"} {
			g.get("/"+name+"/"+name, withKey).want(t, 200, "proxy-access-granted")
		}
	}
	for _, line := range shown {
		path, cert, _ := strings.Cut(line, " ")
		if want[path] != cert {
			t.Errorf("%s came with the certificate %s, not %s", path, cert, want[path])
		}
	}
	if len(shown) != 20 {
		t.Errorf("%d requests came", len(shown))
	}
}

// Values with line breaks went into headers, and with them headers of whoever had made the value.
// Sources: apache/apisix#13787, NVIDIA/OpenShell#708
// Here: A secret that its place cannot carry does not load; through the API it is 422; a file that changes to one keeps the last good value.
func TestPeer_apisix_13787_LineBreaksInSecrets(t *testing.T) {
	t.Run("a configuration", func(t *testing.T) {
		for name, text := range map[string]string{"CRLF": "a\r\nX-Evil: 1", "LF": "a\nb", "NUL": "a\x00b", "DEL": "a\x7fb"} {
			file := filepath.Join(t.TempDir(), "secret")
			write(t, file, text)
			for _, present := range []string{"key {file." + file + "}", "bearer {file." + file + "}", "key {file." + file + "} {\nheader X-Vendor\n}", "custom {\nheader X-Vendor a-{file." + file + "}\n}", "custom {\ncookie c {file." + file + "}\n}"} {
				t.Run(name, func(t *testing.T) { refusedToLoad(t, proxies(peerProxy("p", present)), "cannot carry") })
			}
		}
	})
	t.Run("the API", func(t *testing.T) {
		m := startManaged(t)
		for _, text := range []string{`a\r\nX-Evil: 1`, `a\nb`, `a\u0000b`, `a\rb`} {
			for _, body := range []string{
				`"key","credentialSecret":{"key":"@@"}`, `"key","credentialSecret":{"key":"x","header":"X-@@"}`, `"bearer","credentialSecret":{"token":"@@"}`, `"bearer","credentialSecret":{"token":"x","prefix":"@@"}`,
				`"custom","credentialSecret":{"headers":{"X-A":"@@"}}`, `"custom","credentialSecret":{"headers":{"@@":"x"}}`, `"custom","credentialSecret":{"cookies":{"c":"@@"}}`,
			} {
				a := m.ask("POST", "credentials", `{"credentialType":"target","credentialName":"x","credentialAuthType":`+strings.ReplaceAll(body, "@@", text)+`}`)
				if a.Status != 422 {
					t.Errorf("%s with %s: %d %s", body, text, a.Status, a.Body)
				}
			}
		}
	})
	t.Run("a file that changes", func(t *testing.T) {
		setSecrets(t)
		file := filepath.Join(t.TempDir(), "secret")
		write(t, file, vendorKey)
		g, u := startPeer(t, proxies(peerProxy("p", "key {file."+file+"}"), peerProxy("clock", "key {file."+file+".clock}")), "{file."+file+".clock}", clockFile(t, file))
		g.get("/p/x", withKey).want(t, 200, "proxy-access-granted")
		write(t, file, "a\r\nX-Evil: 1")
		write(t, file+".clock", "later-0123456789abcdef0123456789")
		received(u)
		rrtest.Eventually(t, "files were looked at again", func() bool {
			g.get("/clock/x", withKey)
			return one(t, u).Header.Get("X-Api-Key") == "later-0123456789abcdef0123456789"
		})
		a := g.get("/p/x", withKey)
		for _, r := range received(u) {
			if r.Header.Get("X-Evil") != "" || r.Header.Get("X-Api-Key") != vendorKey {
				t.Errorf("the upstream got %v", r.Header)
			}
		}
		if a.Status != 200 && a.Status != 502 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	})
}

// clockFile makes a second secret beside a file, whose change tells that files are read again.
func clockFile(t *testing.T, file string) (placeholder string) {
	t.Helper()
	write(t, file+".clock", "now-0123456789abcdef0123456789ab")
	return "{file." + file + ".clock}"
}

// A body that was looked into was read into memory to its end, however large it was.
// Sources: apache/apisix#13705
// Here: What rules read is bounded by `max_body` (1 MiB), whether or not a length is said: the request is denied after that, without waiting for the
// rest, and the upload ends.
func TestPeer_apisix_13705_BodiesInMemory(t *testing.T) {
	g, u := startPeer(t, proxies(peerProxy("p", vendor, "deny POST /* {\nbody $.currency ^rub$\n}")))
	for _, length := range []string{"Content-Length: 1099511627776", "Transfer-Encoding: chunked"} {
		answer, sent := endless(t, g.addr, "POST /p/x HTTP/1.1\r\nHost: x\r\n"+withKey+"\r\nContent-Type: application/json\r\n"+length+"\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 403") || sent > 32<<20 {
			t.Errorf("%s: after %d bytes %q", length, sent, answer)
		}
	}
	silent(t, u)
}

// endless sends a head and then a body that does not end (within 128 MiB), and returns how the answer begins and how much of
// the body was taken until then.
func endless(t *testing.T, addr, head string) (answer string, sent int) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	came := make(chan string, 1)
	go func() {
		text := make([]byte, 64)
		n, _ := io.ReadFull(conn, text)
		came <- string(text[:n])
	}()
	chunk := strings.Repeat("x", 64<<10)
	if strings.Contains(head, "chunked") {
		chunk = "10000\r\n" + chunk + "\r\n"
	}
	_, err = io.WriteString(conn, head)
	for err == nil && sent < 128<<20 {
		var n int
		n, err = io.WriteString(conn, chunk)
		sent += n
		select {
		case answer = <-came:
			return answer, sent
		default:
		}
	}
	if err == nil {
		return "", sent
	}
	return <-came, sent
}
