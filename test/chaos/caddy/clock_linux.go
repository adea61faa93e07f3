//go:build amd64 || arm64

package main

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
	_ "unsafe" // go:linkname

	"github.com/caddyserver/caddy/v2"
)

// The Go runtime asks the kernel's clock_gettime for the time, through the address in this
// variable of its own, which it leaves open to others (runtime/badlinkname_linux.go).
//
//go:linkname vdsoClockgettimeSym runtime.vdsoClockgettimeSym
var vdsoClockgettimeSym uintptr

// Read by the assembly on every call: where the kernel's function is, and how many
// seconds its wall clock is put off.
var (
	kernelClock uintptr
	clockOffset int64
)

// shiftedClock is the address of a C function that is clock_gettime, but for its
// CLOCK_REALTIME, which is clockOffset ahead. The monotonic clock goes on as it is: so it is
// when NTP or an operator sets a clock.
func shiftedClock() uintptr

func init() {
	if vdsoClockgettimeSym != 0 { // else the runtime makes system calls, and the clock cannot be set
		atomic.StoreUintptr(&kernelClock, vdsoClockgettimeSym)
		atomic.StoreUintptr(&vdsoClockgettimeSym, shiftedClock())
		caddy.RegisterModule(clock{})
	}
}

// clock sets the process's wall clock: POST /chaos/clock?ahead=<duration> on the admin
// endpoint has it that far ahead of the machine's, or behind it.
type clock struct{}

// CaddyModule returns the Caddy module information.
func (clock) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.chaos_clock", New: func() caddy.Module { return clock{} }}
}

// Routes returns the route of the admin endpoint.
func (clock) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/chaos/clock", Handler: caddy.AdminHandlerFunc(setClock)}}
}

func setClock(w http.ResponseWriter, r *http.Request) error {
	ahead, err := time.ParseDuration(r.URL.Query().Get("ahead"))
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	atomic.StoreInt64(&clockOffset, int64(ahead/time.Second))
	_, err = fmt.Fprintln(w, time.Now().UTC().Format(time.RFC3339Nano))
	return err
}

// Interface guard
var _ caddy.AdminRouter = clock{}
