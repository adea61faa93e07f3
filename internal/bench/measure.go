package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// turn is what one row showed in one round.
type turn struct {
	perSecond float64       // requests answered
	cpu       time.Duration // of the gateway process, user and system, per request
	busy      float64       // share of its core that the gateway used
	p50, p99  time.Duration // latency
}

// measured is all that was seen of one row: one turn a round, over all lives,
// and the heap and the memory once a life, the former where it is counted.
type measured struct {
	row   row
	turns []turn
	heaps []perRequest
	peaks []float64 // most resident memory, bytes

	library []time.Duration // what golang-jwt takes for a token of the row, once a round
}

// perRequest is what the gateway allocates for one request.
type perRequest struct{ objects, bytes float64 }

// measure runs every life of a part and gives its rows in their order. No process is
// left behind, whatever happens.
func measure(ctx context.Context, o options, p part, with parties) ([]measured, error) {
	all := make([]measured, len(p.selected))
	for i, r := range p.selected {
		all[i].row = r
	}
	for range o.lives {
		if err := live(ctx, o, p, all, with); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// live starts a gateway per row, warms all up, takes the rounds and stops them.
func live(ctx context.Context, o options, p part, all []measured, with parties) error {
	dir, err := os.MkdirTemp("", "rr-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	gateways := make([]*gateway, 0, len(all))
	defer func() {
		for _, g := range gateways {
			g.stop()
		}
	}()
	for i := range all {
		own := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(own, 0o700); err != nil {
			return err
		}
		g, err := startGateway(o, p.Pinned, all[i].row, own, with)
		if err != nil {
			return err
		}
		gateways = append(gateways, g)
	}
	for i, g := range gateways {
		if err := g.warm(o); err != nil {
			return fmt.Errorf("row %s: %w", g.row.Name, err)
		}
		if !p.heap() || g.row.Program.Name != "" {
			continue
		}
		used, err := g.heap(o)
		if err != nil {
			return fmt.Errorf("row %s: %w", g.row.Name, err)
		}
		all[i].heaps = append(all[i].heaps, used)
	}
	if err := takeRounds(ctx, o, p, all, gateways, with.issuer); err != nil {
		return err
	}
	for i, g := range gateways {
		peak, err := peakMemory(g.process.Process.Pid)
		if err != nil {
			return fmt.Errorf("row %s: %w", g.row.Name, err)
		}
		all[i].peaks = append(all[i].peaks, peak)
	}
	return nil
}

// warm puts load on the gateway until caches and heap have settled.
func (g *gateway) warm(o options) error {
	if !g.row.Tokens.Unseen {
		if err := g.load.sendAll(); err != nil {
			return err
		}
	}
	_, err := g.load.run(o.warmup, 0, g.row.Tokens.most(o.warmup))
	return err
}

// heap counts what a request allocates. Asking allocates too, so what one question
// costs is found first and taken off.
func (g *gateway) heap(o options) (perRequest, error) {
	first, err1 := g.heapNow()
	before, err2 := g.heapNow()
	seen, err3 := g.load.run(o.warmup, 0, g.row.Tokens.most(o.warmup))
	after, err4 := g.heapNow()
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return perRequest{}, err
	}
	return heapPerRequest(first, before, after, seen.requests), nil
}

// heapPerRequest takes what asking costs (first to before) off what was
// allocated from before to after.
func heapPerRequest(first, before, after heap, requests int) perRequest {
	share := func(first, before, after uint64) float64 {
		return (float64(after-before) - float64(before-first)) / float64(requests)
	}
	return perRequest{
		objects: share(first.Mallocs, before.Mallocs, after.Mallocs),
		bytes:   share(first.TotalAlloc, before.TotalAlloc, after.TotalAlloc),
	}
}

// takeRounds gives every row one turn a round, forwards and backwards by turns.
func takeRounds(ctx context.Context, o options, p part, all []measured, gateways []*gateway, signs *issuer) error {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	for range o.rounds {
		for _, i := range order {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			seen, err := gateways[i].turn(o, p.rate(o))
			if err != nil {
				return fmt.Errorf("row %s: %w", all[i].row.Name, err)
			}
			all[i].turns = append(all[i].turns, seen)
			if !all[i].row.Library || !p.cpu() {
				continue
			}
			own, err := signs.libraryTime(all[i].row.Tokens.Algorithm, o.gatewayCore)
			if err != nil {
				return fmt.Errorf("row %s: golang-jwt: %w", all[i].row.Name, err)
			}
			all[i].library = append(all[i].library, own)
		}
		slices.Reverse(order)
	}
	return nil
}

// turn is one timed stretch of load.
func (g *gateway) turn(o options, rate float64) (turn, error) {
	pid := g.process.Process.Pid
	before, err1 := cpuTime(pid)
	seen, err2 := g.load.run(o.duration, rate, g.row.Tokens.most(o.duration))
	after, err3 := cpuTime(pid)
	if err := errors.Join(err1, err2, err3); err != nil {
		return turn{}, err
	}
	used := after - before
	return turn{
		perSecond: float64(seen.requests) / seen.took.Seconds(),
		cpu:       used / time.Duration(seen.requests),
		busy:      used.Seconds() / seen.took.Seconds(),
		p50:       seen.p50,
		p99:       seen.p99,
	}, nil
}
