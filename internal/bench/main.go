// Command bench measures what the gateway costs: the CPU time per request of
// one Caddy binary with rr against the same binary's bare reverse_proxy.
//
// Each row of rows.go is a Caddy process on one core with GOMAXPROCS=1. This
// program, on another core, is both caller and upstream. Rows take turns in many
// short rounds, in an order that turns around every round, so that whatever else
// the machine does falls on all of them alike; gateways are started anew several
// times, so that the luck of one process's memory layout does not decide.
// Everything stays on the loopback interface.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// options are the command's flags.
type options struct {
	caddy       string
	rows        string
	lives       int
	rounds      int
	duration    time.Duration
	warmup      time.Duration
	rate        float64
	connections int
	gatewayCore int
	loadCore    int
	json        string
	enforce     bool
}

// parseOptions reads the command line; what is wrong with a flag, and the help,
// go to usage.
func parseOptions(args []string, usage io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&o.caddy, "caddy", "bin/caddy", "the Caddy `binary` to measure, built with the plugin")
	flags.StringVar(&o.rows, "rows", ".", "measure the rows whose name matches this `regexp`, and those they are compared with")
	flags.IntVar(&o.lives, "lives", 3, "how often the gateways are started anew")
	flags.IntVar(&o.rounds, "rounds", 8, "rounds in each life; in a round every row has one turn")
	flags.DurationVar(&o.duration, "duration", 500*time.Millisecond, "length of a turn")
	flags.DurationVar(&o.warmup, "warmup", time.Second, "load before the first turn of a life, per row")
	flags.Float64Var(&o.rate, "rate", 0, "requests per second, spread evenly, to compare latency; 0: as many as the gateway answers")
	flags.IntVar(&o.connections, "connections", 32, "kept-alive connections to each gateway")
	flags.IntVar(&o.gatewayCore, "gateway-core", 0, "core of the gateways")
	flags.IntVar(&o.loadCore, "load-core", 1, "core of callers and upstream")
	flags.StringVar(&o.json, "json", "", "write the figures as JSON to this `file` as well")
	flags.BoolVar(&o.enforce, "enforce", false, "exit with an error when a promise is missed")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	return o, o.validate(flags.Args())
}

func (o options) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q: there are only flags, see -help", rest[0])
	case o.lives < 1 || o.rounds < 1 || o.connections < 1 || o.duration <= 0 || o.warmup <= 0:
		return errors.New("lives, rounds, connections, duration and warmup must be more than zero")
	case o.rate < 0:
		return errors.New("rate must not be negative")
	case runtime.NumCPU() > 1 && o.gatewayCore == o.loadCore:
		return errors.New("gateway-core and load-core must differ, or the load is measured as well")
	}
	return nil
}

func main() {
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures and reports. It ends at the next turn after an interrupt.
func run(o options) error {
	selected, err := selectRows(rows, o.rows)
	if err != nil {
		return err
	}
	if o.caddy, err = filepath.Abs(o.caddy); err != nil {
		return err
	}
	if err := pinSelf(o.loadCore); err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()

	turns := time.Duration(o.lives * len(selected) * o.rounds)
	fmt.Fprintf(os.Stderr, "bench: %d rows, %d rounds in each of %d lives, about %s\n",
		len(selected), o.rounds, o.lives, (turns*o.duration + time.Duration(o.lives*len(selected))*2*o.warmup).Round(time.Second))
	measured, err := measure(ctx, o, selected)
	if err != nil {
		return err
	}
	results := summarize(measured)
	printTable(os.Stdout, o, results)
	if o.json != "" {
		if err := writeJSON(o.json, o, results); err != nil {
			return err
		}
	}
	return enforce(o, results)
}

// enforce is the error for the promises missed, when the options ask for it.
func enforce(o options, results []result) error {
	if !o.enforce {
		return nil
	}
	var missed []error
	for _, r := range results {
		if r.Verdict == missedPromise {
			missed = append(missed, fmt.Errorf("%s costs %.3f × %s, promised is %.2f ×", r.Name, r.Paired, r.Against, r.Promise))
		}
	}
	return errors.Join(missed...)
}
