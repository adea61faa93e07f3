package host

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/redact"
)

// maxLeft is how many names and secrets that are not in use any more are kept out of logs
// beside those of whole configurations. Records come and go at will, and there is room for
// so many secrets only.
const maxLeft = 4000

// maxLeftOfConfigs is how many are kept of configurations that have ended, so that many
// reloads within hideAfter do not fill the memory.
const maxLeftOfConfigs = 100_000

// left are the names and secrets that are not in use any more, of records and of ended
// configurations.
var (
	left          = departed{limit: maxLeft}
	leftOfConfigs = departed{limit: maxLeftOfConfigs}
)

// LetGo calls releases of package redact, later: requests that are still under way may be
// logged.
func LetGo(releases []func()) { left.add(releases) }

// departed releases what it is given after hideAfter, or earlier if it gets too much.
type departed struct {
	limit int

	mu    sync.Mutex
	queue []departure // the oldest first
	armed bool
}

type departure struct {
	at      time.Time
	release func()
}

func (d *departed) add(releases []func()) {
	if len(releases) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	at := time.Now().Add(hideAfter)
	for _, release := range releases {
		d.queue = append(d.queue, departure{at, release})
	}
	d.drop(len(d.queue) - d.limit)
	d.arm()
}

// drop releases the n oldest.
func (d *departed) drop(n int) {
	if n <= 0 {
		return
	}
	for _, gone := range d.queue[:n] {
		gone.release()
	}
	clear(d.queue[:n])
	d.queue = d.queue[n:]
}

func (d *departed) arm() {
	if d.armed || len(d.queue) == 0 {
		return
	}
	d.armed = true
	time.AfterFunc(time.Until(d.queue[0].at), d.tick)
}

func (d *departed) tick() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, n := time.Now(), 0
	for n < len(d.queue) && !now.Before(d.queue[n].at) {
		n++
	}
	d.drop(n)
	d.armed = false
	d.arm()
}

// maxOfRecords is how many secrets of records are looked for in logs at once: those of
// configurations have to find room too.
const maxOfRecords = 8000

var (
	ofRecords atomic.Int64
	full      sync.Once // has the log told
)

// hideOfRecord keeps a secret of a record out of logs. Who makes records does not
// decide what else the log says: only what looks random is looked for, and not in the names
// of fields (see redact.AddGuestSecret); nor is a text that could be a part of JSON itself,
// as a log without it would be no JSON any more. Inside JSON's texts a quote is escaped, so
// what stands between quotes is looked for by itself.
func (l *Loader) hideOfRecord(value string) {
	for part := range strings.SplitSeq(value, `"`) {
		if !redact.LooksRandom(part) || isSyntax(part) {
			continue
		}
		if ofRecords.Add(1) > maxOfRecords {
			ofRecords.Add(-1)
			full.Do(func() {
				l.log.Warn("there are too many secrets to look for each by its value in logs; more are hidden by the names of their headers, parameters and cookies only", zap.String("where", l.place))
			})
			continue
		}
		release, _ := redact.Default().AddGuestSecret(part)
		l.keep(func() {
			release()
			ofRecords.Add(-1)
		})
	}
}

// isSyntax reports whether a text could be a part of JSON outside of its texts.
func isSyntax(s string) bool {
	return strings.Trim(s, "{}[]:, \t\r\n0123456789+-.eEtrufalsn") == "" && strings.ContainsAny(s, "{}[]:,")
}
