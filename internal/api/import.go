package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"

	"github.com/caddy-rr/caddy-rr/internal/wire"
	"github.com/caddy-rr/caddy-rr/store"
)

// maxImport is how many bytes the body of an import has at most.
const maxImport = 64 << 20

// ImportRequest is an archive, or records as the original's API returns them.
type ImportRequest struct {
	Passphrase string `json:"passphrase,omitempty" doc:"What opens the archive"`
	Archive    string `json:"archive,omitempty" encoding:"base64" doc:"What POST /store/export answered, in base64"`
	Replace    bool   `json:"replace,omitempty" doc:"Whether records take the place of those with the same id. Without it they are a conflict, and nothing is imported"`

	Client      string           `json:"client,omitempty" doc:"The client that all records go to. Without it, that of each record's clientId, or else default"`
	Clients     []map[string]any `json:"clients,omitempty" doc:"Clients as GET answers them"`
	Credentials []map[string]any `json:"credentials,omitempty" doc:"Credentials as GET answers them, with credentialSecret, which it does not answer"`
	Targets     []map[string]any `json:"targets,omitempty" doc:"Targets as GET answers them"`
	Proxies     []map[string]any `json:"proxies,omitempty" doc:"Proxies as GET answers them"`
}

// Imported says what an import has made.
type Imported struct {
	Records     map[string]int    `json:"records" doc:"How many records there are of each kind"`
	Credentials []wire.Credential `json:"credentials,omitempty" doc:"Credentials that had no key and were given one: it is shown here, and never again"`
	IDs         map[string]string `json:"ids,omitempty" doc:"The new ids of records whose old ids were no UUIDs"`
	Message     string            `json:"message" example:"Success"`
}

// importIn has no RawBody: huma would copy it.
type importIn struct{ Keyed }

// importing is an import in the making.
type importing struct {
	*handler
	replace bool
	client  string          // that everything goes to, or empty
	owners  map[string]bool // clients that are here, or will be
	puts    []func(Tx) error
	taken   []User
	shown   []store.Head // of the credentials whose keys the answer shows
	out     Imported
}

// maxTaken is how many records a conflict names.
const maxTaken = 20

func (h *handler) importAll(ctx context.Context, _ *importIn) (*recordOut[Imported], error) {
	members, err := object(bodyOf(ctx), "passphrase", "archive", "replace", "client", "clients", "credentials", "targets", "proxies")
	if err != nil {
		return nil, err
	}
	x := &importing{handler: h, out: Imported{Records: map[string]int{}, Message: success}}
	if x.replace, err = truth(members, "replace"); err != nil {
		return nil, err
	}
	if _, sealed := members["archive"]; sealed {
		err = x.archive(ctx, members)
	} else {
		err = x.records(ctx, members)
	}
	switch {
	case err != nil:
		return nil, err
	case len(x.taken) > 0:
		p := problem(codeConflict, "there are records with these ids already: with \"replace\": true, the imported ones take their place")
		p.Users = x.taken
		return nil, p
	}
	return change(ctx, h, func(tx Tx) (*recordOut[Imported], error) {
		for _, put := range x.puts {
			err := put(tx)
			if errors.Is(err, store.ErrNotFound) { // or it was deleted meanwhile
				return nil, badMember("", "a record belongs to a client that neither is there nor is imported")
			}
			if err != nil {
				return nil, err
			}
		}
		for i := range x.shown {
			tells(ctx, store.Credentials, &x.shown[i])
		}
		tx.Note("import", "store", "", "", "")
		return &recordOut[Imported]{Body: x.out}, nil
	})
}

// archive plans the import of an archive.
func (x *importing) archive(ctx context.Context, members map[string]any) error {
	for _, name := range []string{"client", "clients", "credentials", "targets", "proxies"} {
		if _, there := members[name]; there {
			return badMember("/"+name, "it does not go together with an archive")
		}
	}
	encoded, err := text(members, "archive")
	if err != nil {
		return err
	}
	lock, err := passphrase(members)
	if err != nil {
		return err
	}
	a, err := store.OpenArchive(ctx, base64.NewDecoder(base64.StdEncoding, strings.NewReader(encoded)), lock)
	if err != nil {
		return archiveProblem(err)
	}
	defer a.Close()
	for _, plan := range []error{
		fromArchive(ctx, x, a, store.Clients, x.planClient),
		fromArchive(ctx, x, a, store.Targets, x.planTarget),
		fromArchive(ctx, x, a, store.Credentials, x.planCredential),
		fromArchive(ctx, x, a, store.Proxies, x.planProxy),
		fromArchive(ctx, x, a, store.Blocked, x.planBlock),
	} {
		if plan != nil {
			return plan
		}
	}
	for r, err := range a.Records(ctx, store.Grants) {
		if err != nil {
			return err
		}
		var grant json.RawMessage
		if err := r.Open(&grant); err != nil {
			return err
		}
		x.puts = append(x.puts, func(tx Tx) error {
			tx.Keep(store.Grants, r.Key, store.Any, max(r.Version, 1), grant)
			return nil
		})
	}
	return nil
}

func archiveProblem(err error) error {
	var file *fs.PathError
	switch {
	case errors.Is(err, store.ErrWrongKey):
		return badMember("/passphrase", "it is not what the archive was sealed with, or the archive's first bytes were changed")
	case errors.Is(err, store.ErrTampered):
		return badMember("/archive", "it is not as it was made: it was changed, or is not whole")
	case errors.Is(err, store.ErrNewer):
		return badMember("/archive", "a newer version of caddy-rr made it")
	case errors.As(err, &file), errors.Is(err, context.Canceled):
		return err
	}
	return badMember("/archive", "it is not an archive that POST /store/export answered, in base64")
}

func fromArchive[R any](ctx context.Context, x *importing, a *store.Archive, bucket string, plan func(context.Context, *R) error) error {
	for r, err := range a.Records(ctx, bucket) {
		if err != nil {
			return err
		}
		record := new(R)
		if err := r.Open(record); err != nil {
			return err
		}
		if err := plan(ctx, record); err != nil {
			return err
		}
	}
	return nil
}

// claim gives a record the version that it replaces, or notes that its id is taken.
func claim[R any](x *importing, kind, name string, head *store.Head, old *R, err error, oldHead func(*R) *store.Head) error {
	head.Version = 0
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return err
	case oldHead(old).Version == 0 && !oldHead(old).Declared: // the client that always exists
	case x.replace && !oldHead(old).Declared:
		head.Version = oldHead(old).Version
	case len(x.taken) < maxTaken:
		x.taken = append(x.taken, User{Kind: kind, ID: head.ID, Name: name})
	}
	return nil
}

// plan has a record put. Each run of the change puts a copy.
func plan[R any](x *importing, kind string, record *R) {
	x.out.Records[kind]++
	x.puts = append(x.puts, func(tx Tx) error {
		same := *record
		return tx.Put("import", &same)
	})
}

func (x *importing) planClient(ctx context.Context, r *store.Client) error {
	old, err := x.catalogue.Client(ctx, r.ID)
	err = claim(x, store.Clients, r.Name, &r.Head, old, err, x.clients.head)
	plan(x, store.Clients, r)
	return err
}

func (x *importing) planTarget(ctx context.Context, r *store.Target) error {
	old, err := x.catalogue.Target(ctx, r.Client, r.ID)
	err = claim(x, store.Targets, r.Name, &r.Head, old, err, x.targets.head)
	plan(x, store.Targets, r)
	return err
}

func (x *importing) planCredential(ctx context.Context, r *store.Credential) error {
	old, err := x.catalogue.Credential(ctx, r.Client, r.ID)
	err = claim(x, store.Credentials, r.Name, &r.Head, old, err, x.credentials.head)
	plan(x, store.Credentials, r)
	return err
}

func (x *importing) planProxy(ctx context.Context, r *store.Proxy) error {
	old, err := x.catalogue.Proxy(ctx, r.Client, r.ID)
	err = claim(x, store.Proxies, r.Name, &r.Head, old, err, x.proxies.head)
	plan(x, store.Proxies, r)
	return err
}

func (x *importing) planBlock(ctx context.Context, r *store.Block) error {
	old, err := x.catalogue.Block(ctx, r.Client, r.ID)
	err = claim(x, store.Blocked, "", &r.Head, old, err, x.blocks.head)
	plan(x, store.Blocked, r)
	return err
}

// reread is the JSON of a part of a body that was decoded.
func reread(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil { // it comes from JSON
		return nil
	}
	return bytes.TrimSpace(data)
}
