// Command bench measures what the gateway costs: CPU time, heap and latency per
// request of one Caddy binary with rr against the same binary's bare reverse_proxy.
//
// Each row of rows.go is a process of its own. This program, on one core, is both
// caller and upstream. Rows take turns in many short rounds, in an order that turns
// around every round, so that whatever else the machine does falls on all of them
// alike; gateways are started anew several times, so that the luck of one process's
// memory layout does not decide. Everything stays on the loopback interface. The
// report is Markdown, for docs/performance.md.
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
	"strings"
	"syscall"
	"time"
)

// options are the command's flags.
type options struct {
	caddy       string
	parts       string
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
	variants    []row
	given       string // the flags as they were given
}

// allCores in place of a core's number is every core that the process may use.
const allCores = -1

// parseOptions reads the command line; what is wrong with a flag, and the help,
// go to usage.
func parseOptions(args []string, usage io.Writer) (options, error) {
	o := options{given: strings.Join(args, " ")}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&o.caddy, "caddy", "bin/caddy", "the Caddy `binary` to measure, built with the plugin")
	flags.StringVar(&o.parts, "parts", ".", "measure the parts whose name matches this `regexp`: "+partNames())
	flags.StringVar(&o.rows, "rows", ".", "measure the rows whose name matches this `regexp`, and those they are compared with")
	flags.IntVar(&o.lives, "lives", 3, "how often the gateways are started anew, in each part")
	flags.IntVar(&o.rounds, "rounds", 12, "rounds in each life; in a round every row has one turn")
	flags.DurationVar(&o.duration, "duration", 250*time.Millisecond, "length of a turn")
	flags.DurationVar(&o.warmup, "warmup", 500*time.Millisecond, "load before the first turn of a life, per row")
	flags.Float64Var(&o.rate, "rate", 1000, "requests per second in the part rate, spread evenly")
	flags.IntVar(&o.connections, "connections", 32, "kept-alive connections to each gateway")
	flags.IntVar(&o.gatewayCore, "gateway-core", 0, "core of the gateways, in the parts that pin them")
	flags.IntVar(&o.loadCore, "load-core", 1, "core of callers and upstream")
	flags.StringVar(&o.json, "json", "", "write the figures as JSON to this `file` as well")
	flags.BoolVar(&o.enforce, "enforce", false, "exit with an error when a row costs more than its limit, which no machine comes near unless something is wrong")
	flags.Func("variant", variantHelp, o.addVariant)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	return o, o.validate(flags.Args())
}

func (o options) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q: there are only flags, see -help", rest[0])
	case o.lives < 1 || o.rounds < 1 || o.connections < 1 || o.duration <= 0 || o.warmup <= 0 || o.rate <= 0:
		return errors.New("lives, rounds, connections, duration, warmup and rate must be more than zero")
	case o.gatewayCore < 0 || o.loadCore < 0:
		return errors.New("gateway-core and load-core must not be negative")
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
	found, missing := withoutMissing(rows)
	series, err := selectParts(o, append(found, o.variants...))
	if err != nil {
		return err
	}
	if o.caddy, err = filepath.Abs(o.caddy); err != nil {
		return err
	}
	if err := pinSelf(o.loadCore); err != nil {
		return err
	}
	about, err := describe(o, series, missing)
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()

	reports, err := measureAll(ctx, o, series)
	if err != nil {
		return err
	}
	printReport(os.Stdout, o, about, reports)
	if o.json != "" {
		if err := writeJSON(o.json, o, about, reports); err != nil {
			return err
		}
	}
	return enforce(o, reports)
}

// measureAll takes one part after the other.
func measureAll(ctx context.Context, o options, series []part) ([]report, error) {
	signs, err := newIssuer()
	if err != nil {
		return nil, err
	}
	server, err := startUpstream()
	if err != nil {
		return nil, err
	}
	defer server.close()
	var reports []report
	for _, p := range series {
		fmt.Fprintf(os.Stderr, "bench: %s: %d rows, %d rounds in each of %d lives, about %s\n",
			p.Name, len(p.selected), o.rounds, o.lives, p.length(o).Round(time.Second))
		if err := signs.prepare(o, p.selected); err != nil {
			return nil, err
		}
		measured, err := measure(ctx, o, p, parties{server.address(), signs})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		reports = append(reports, report{p, summarize(p, measured)})
	}
	return reports, nil
}

// enforce is the error for the rows above their limits, by the kinder of both figures,
// when the options ask for it. Limits are for one core: on all of them the load takes
// part of what is compared.
func enforce(o options, reports []report) error {
	if !o.enforce {
		return nil
	}
	var over []error
	for _, report := range reports {
		for _, r := range report.Rows {
			if ratio := min(r.Paired, r.Lowest); report.Part.cpu() && r.Limit > 0 && ratio > r.Limit {
				over = append(over, fmt.Errorf("%s costs %.2f × %s, the limit is %.2f ×", r.Name, ratio, r.Against, r.Limit))
			}
		}
	}
	return errors.Join(over...)
}
