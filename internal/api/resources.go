package api

import (
	"context"
	"errors"
	"slices"

	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/internal/wire"
	"github.com/caddy-rr/caddy-rr/store"
)

// Clients is the envelope of clients.
type Clients struct {
	Clients []wire.Client `json:"clients"`
	Cursor  string        `json:"cursor,omitempty" doc:"There is more: the parameter cursor of the next request"`
	Message string        `json:"message" example:"Success"`
}

// Credentials is the envelope of credentials.
type Credentials struct {
	Credentials []wire.Credential `json:"credentials"`
	Cursor      string            `json:"cursor,omitempty" doc:"There is more: the parameter cursor of the next request"`
	Message     string            `json:"message" example:"Success"`
}

// Targets is the envelope of targets.
type Targets struct {
	Targets []wire.Target `json:"targets"`
	Cursor  string        `json:"cursor,omitempty" doc:"There is more: the parameter cursor of the next request"`
	Message string        `json:"message" example:"Success"`
}

// Proxies is the envelope of proxies.
type Proxies struct {
	Proxies []wire.Proxy `json:"proxies"`
	Cursor  string       `json:"cursor,omitempty" doc:"There is more: the parameter cursor of the next request"`
	Message string       `json:"message" example:"Success"`
}

// Blocklist is the envelope of entries of a blocklist.
type Blocklist struct {
	Blocklist []wire.Block `json:"blocklist"`
	Cursor    string       `json:"cursor,omitempty" doc:"There is more: the parameter cursor of the next request"`
	Message   string       `json:"message" example:"Success"`
}

// resources are the kinds of records.
type resources struct {
	clients     *resource[store.Client, wire.Client, Clients]
	credentials *resource[store.Credential, wire.Credential, Credentials]
	targets     *resource[store.Target, wire.Target, Targets]
	proxies     *resource[store.Proxy, wire.Proxy, Proxies]
	blocks      *resource[store.Block, wire.Block, Blocklist]
}

func resourcesOf(c Catalogue) resources {
	return resources{
		clients: clientResource(c), credentials: credentialResource(c), targets: targetResource(c), proxies: proxyResource(c), blocks: blockResource(c),
	}
}

func clientResource(c Catalogue) *resource[store.Client, wire.Client, Clients] {
	return &resource[store.Client, wire.Client, Clients]{
		plural: store.Clients, singular: "client",
		get:  func(ctx context.Context, _, id string) (*store.Client, error) { return c.Client(ctx, id) },
		list: clientsOf(c),
		now:  func(tx Tx, _, id string) (*store.Client, error) { return tx.Client(id) },
		decode: func(body []byte, old *store.Client) (*store.Client, *wire.Generated, error) {
			r, err := wire.DecodeClient(body, old)
			return r, nil, err
		},
		show:     func(r *store.Client, _ *wire.Generated) wire.Client { return wire.ShowClient(r) },
		envelope: func(list []wire.Client, cursor string) Clients { return Clients{list, cursor, success} },
		head:     func(r *store.Client) *store.Head { return &r.Head },
		ready:    func(*store.Client, string) {},
	}
}

func credentialResource(c Catalogue) *resource[store.Credential, wire.Credential, Credentials] {
	return &resource[store.Credential, wire.Credential, Credentials]{
		plural: store.Credentials, singular: "credential",
		get: c.Credential, list: c.Credentials, now: Tx.Credential, decode: wire.DecodeCredential,
		show: func(r *store.Credential, made *wire.Generated) wire.Credential {
			return wire.ShowCredential(r, c.LastUsed(r.Client, r.ID), made)
		},
		envelope: func(list []wire.Credential, cursor string) Credentials { return Credentials{list, cursor, success} },
		head:     func(r *store.Credential) *store.Head { return &r.Head },
		secret:   func(r *store.Credential) (string, []byte) { return "credentialSecret", r.Spec },
		ready:    func(r *store.Credential, client string) { r.Client = client },
	}
}

func targetResource(c Catalogue) *resource[store.Target, wire.Target, Targets] {
	return &resource[store.Target, wire.Target, Targets]{
		plural: store.Targets, singular: "target",
		get: c.Target, list: c.Targets, now: Tx.Target,
		decode: func(body []byte, old *store.Target) (*store.Target, *wire.Generated, error) {
			r, err := wire.DecodeTarget(body, old)
			return r, nil, err
		},
		show:     func(r *store.Target, _ *wire.Generated) wire.Target { return wire.ShowTarget(r) },
		envelope: func(list []wire.Target, cursor string) Targets { return Targets{list, cursor, success} },
		head:     func(r *store.Target) *store.Head { return &r.Head },
		ready:    func(r *store.Target, client string) { r.Client = client },
	}
}

func proxyResource(c Catalogue) *resource[store.Proxy, wire.Proxy, Proxies] {
	return &resource[store.Proxy, wire.Proxy, Proxies]{
		plural: store.Proxies, singular: "proxy",
		get: c.Proxy, list: c.Proxies, now: Tx.Proxy,
		decode: func(body []byte, old *store.Proxy) (*store.Proxy, *wire.Generated, error) {
			r, err := wire.DecodeProxy(body, old)
			return r, nil, err
		},
		show:     func(r *store.Proxy, _ *wire.Generated) wire.Proxy { return wire.ShowProxy(r) },
		envelope: func(list []wire.Proxy, cursor string) Proxies { return Proxies{list, cursor, success} },
		head:     func(r *store.Proxy) *store.Head { return &r.Head },
		ready: func(r *store.Proxy, client string) {
			r.Client = client
			r.CredentialIDs = slices.Clone(r.CredentialIDs) // names become ids in it
		},
	}
}

func blockResource(c Catalogue) *resource[store.Block, wire.Block, Blocklist] {
	return &resource[store.Block, wire.Block, Blocklist]{
		plural: store.Blocked, singular: "entry of the blocklist",
		get: c.Block, list: c.Blocks, now: Tx.Block,
		decode: func(body []byte, old *store.Block) (*store.Block, *wire.Generated, error) {
			r, err := wire.DecodeBlock(body, old)
			return r, nil, err
		},
		show:     func(r *store.Block, _ *wire.Generated) wire.Block { return wire.ShowBlock(r) },
		envelope: func(list []wire.Block, cursor string) Blocklist { return Blocklist{list, cursor, success} },
		head:     func(r *store.Block) *store.Head { return &r.Head },
		ready:    func(r *store.Block, client string) { r.Client = client },
	}
}

// clientsOf lists the clients that a principal sees.
func clientsOf(c Catalogue) func(context.Context, string, catalog.Query) ([]*store.Client, string, error) {
	return func(ctx context.Context, _ string, q catalog.Query) ([]*store.Client, string, error) {
		who := principalOf(ctx)
		if who.All {
			return c.Clients(ctx, q)
		}
		ids := slices.Compact(slices.Sorted(slices.Values(who.Clients)))
		var list []*store.Client
		for _, id := range ids {
			if id <= q.After {
				continue
			}
			if len(list) == q.Limit {
				return list, list[len(list)-1].ID, nil
			}
			switch r, err := c.Client(ctx, id); {
			case err == nil && (q.Name == "" || q.Name == r.Name):
				list = append(list, r)
			case err != nil && !errors.Is(err, store.ErrNotFound):
				return nil, "", err
			}
		}
		return list, "", nil
	}
}
