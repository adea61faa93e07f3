// Command fakeopenai serves the fake of OpenAI's API for examples/llm. The vendor's key is
// taken from the environment variable OPENAI_VENDOR_KEY.
package main

import (
	"flag"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/fakeopenai"
)

func main() {
	addr := flag.String("listen", "127.0.0.1:9005", "the address to listen on")
	pace := flag.Duration("pace", 100*time.Millisecond, "the pause between the chunks of a stream")
	flag.Parse()
	key := os.Getenv("OPENAI_VENDOR_KEY")
	if key == "" {
		log.Fatal("OPENAI_VENDOR_KEY is not set; it is the key that the fake asks for")
	}
	log.Printf("the fake of OpenAI's API listens on http://%s", *addr)
	server := &http.Server{Addr: *addr, Handler: fakeopenai.New(key, *pace), ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}
