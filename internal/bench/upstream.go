package main

import (
	"bytes"
	"net"
	"strconv"
	"strings"
)

// bodySize is the length in bytes of the upstream's answer.
const bodySize = 1024

// headEnd is the empty line between a message's head and its body.
var headEnd = []byte("\r\n\r\n")

// echoPath is answered with the request's head instead of the fixed answer: so
// the program sees what left the gateway, at no cost to the measured requests.
const echoPath = "/v1/echo"

// tokenPath is where the upstream is a token endpoint, whose tokens are the vendor's key.
const tokenPath = "/token"

// tokenBody is the token endpoint's answer.
var tokenBody = []byte(`{"access_token":"` + vendorKey + `","token_type":"Bearer","expires_in":3600}`)

// fixedBody is what every measured request is answered with.
var fixedBody = []byte(`{"data":"` + strings.Repeat("x", bodySize-len(`{"data":""}`)) + `"}`)

// upstream is the leanest server that keeps connections alive: it looks for the
// end of a request's head and writes bytes made once. It knows only requests
// without a body.
type upstream struct {
	listener net.Listener
	fixed    []byte
}

// startUpstream serves on a free loopback port until closed.
func startUpstream() (*upstream, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &upstream{listener: listener, fixed: answer(fixedBody)}
	go u.accept()
	return u, nil
}

func (u *upstream) address() string { return u.listener.Addr().String() }

func (u *upstream) close() { _ = u.listener.Close() }

func (u *upstream) accept() {
	for {
		conn, err := u.listener.Accept()
		if err != nil {
			return // closed
		}
		go u.serve(conn)
	}
}

// serve answers one connection's requests until the other side closes it or
// sends a head longer than the buffer.
func (u *upstream) serve(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, 8<<10)
	filled := 0
	for filled < len(buffer) {
		n, err := conn.Read(buffer[filled:])
		if err != nil {
			return
		}
		filled += n
		end := bytes.Index(buffer[:filled], headEnd)
		if end < 0 {
			continue
		}
		head := buffer[:end+len(headEnd)]
		if bytes.HasPrefix(head, []byte("POST "+tokenPath+" ")) {
			_, _ = conn.Write(answer(tokenBody))
			return // with the body unread
		}
		reply := u.fixed
		if bytes.HasPrefix(head, []byte("GET "+echoPath+" ")) {
			reply = answer(head)
		}
		if _, err := conn.Write(reply); err != nil {
			return
		}
		filled = copy(buffer, buffer[len(head):filled])
	}
}

// answer is a whole HTTP/1.1 response with this body.
func answer(body []byte) []byte {
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	return append([]byte(head), body...)
}
