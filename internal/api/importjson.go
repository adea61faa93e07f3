package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/wire"
	"github.com/caddy-rr/caddy-rr/store"
)

// records plans the import of what the original's API returned. Ids that are UUIDs stay, so
// that what callers call stays; others are replaced, wherever they are referred to, and the
// old id of a proxy without an alias becomes its alias.
func (x *importing) records(ctx context.Context, members map[string]any) error {
	var err error
	if x.client, err = text(members, "client"); err != nil {
		return err
	}
	x.out.IDs, x.owners = map[string]string{}, map[string]bool{}
	for _, part := range []struct {
		kind string
		plan func(context.Context, map[string]any, []byte) error
	}{
		{store.Clients, x.readClient}, {store.Targets, x.readTarget}, {store.Credentials, x.readCredential}, {store.Proxies, x.readProxy},
	} {
		list, isList := members[part.kind].([]any)
		if !isList && members[part.kind] != nil {
			return badMember("/"+part.kind, "it has to be a list")
		}
		for i, item := range list {
			at := fmt.Sprintf("/%s/%d", part.kind, i)
			record, is := item.(map[string]any)
			if !is {
				return badMember(at, "it has to be an object")
			}
			if record["declared"] == true {
				continue // another gateway's configuration has it, and keeps it
			}
			if err := part.plan(ctx, record, reread(record)); err != nil {
				return within(at, err)
			}
		}
	}
	if len(x.puts) == 0 {
		return badMember("", "it has neither an archive nor records")
	}
	return nil
}

// within puts the place of a record before the pointers of its faults.
func within(at string, err error) error {
	var faults wire.Faults
	if !errors.As(err, &faults) {
		return err
	}
	moved := make(wire.Faults, len(faults))
	for i, f := range faults {
		moved[i] = wire.Fault{Pointer: at + f.Pointer, Detail: f.Detail}
	}
	return moved
}

// owner is the client that a record goes to, which has to be here, or imported with it.
func (x *importing) owner(ctx context.Context, record map[string]any) (string, error) {
	id, is := x.client, true
	if id == "" {
		id, is = record["clientId"].(string)
	}
	if !is && record["clientId"] != nil {
		return "", wire.Faults{{Pointer: "/clientId", Detail: "it has to be a string"}}
	}
	if id == "" || x.owners[id] {
		return cmp.Or(id, store.DefaultClient), nil
	}
	_, err := x.catalogue.Client(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound) && x.client != "":
		return "", badMember("/client", "there is no such client: import it too")
	case errors.Is(err, store.ErrNotFound):
		return "", wire.Faults{{Pointer: "/clientId", Detail: "there is no such client: import it too, or have all go to another one with client"}}
	}
	x.owners[id] = err == nil
	return id, err
}

// identify gives a record its id: the one that it has, if that is a UUID.
func (x *importing) identify(record map[string]any, name string) (id, old string) {
	for _, member := range []string{name, "sKey"} {
		if old, _ = record[member].(string); old != "" {
			break
		}
	}
	if uuidForm.MatchString(old) {
		return old, old
	}
	id = newID(x.now())
	if old != "" {
		x.out.IDs[old] = id
	}
	return id, old
}

var (
	uuidForm  = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	aliasForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
)

// current is the id, by now, of what a record refers to.
func (x *importing) current(id string) string {
	if changed, ok := x.out.IDs[id]; ok {
		return changed
	}
	return id
}

func (x *importing) readClient(ctx context.Context, record map[string]any, body []byte) error {
	r, err := wire.DecodeClient(body, nil)
	if err != nil {
		return err
	}
	if id, _ := record["clientId"].(string); r.ID == "" {
		r.ID = id
	}
	x.owners[r.ID] = true
	return x.planClient(ctx, r)
}

func (x *importing) readTarget(ctx context.Context, record map[string]any, body []byte) error {
	r, err := wire.DecodeTarget(body, nil)
	if err != nil {
		return err
	}
	if r.Client, err = x.owner(ctx, record); err != nil {
		return err
	}
	r.ID, _ = x.identify(record, "targetId")
	return x.planTarget(ctx, r)
}

func (x *importing) readCredential(ctx context.Context, record map[string]any, body []byte) error {
	r, made, err := wire.DecodeCredential(body, nil)
	if err != nil {
		return err
	}
	if r.Client, err = x.owner(ctx, record); err != nil {
		return err
	}
	r.ID, _ = x.identify(record, "credentialId")
	if made != nil && made.Key != "" {
		x.shown = append(x.shown, r.Head)
		x.out.Credentials = append(x.out.Credentials, wire.ShowCredential(r, time.Time{}, made))
	}
	return x.planCredential(ctx, r)
}

func (x *importing) readProxy(ctx context.Context, record map[string]any, body []byte) error {
	r, err := wire.DecodeProxy(body, nil)
	if err != nil {
		return err
	}
	if r.Client, err = x.owner(ctx, record); err != nil {
		return err
	}
	var old string
	if r.ID, old = x.identify(record, "proxyId"); r.ID != old && r.Alias == "" && aliasForm.MatchString(old) {
		r.Alias = old
	}
	for i, id := range r.CredentialIDs {
		r.CredentialIDs[i] = x.current(id)
	}
	r.TargetID, r.TargetCredentialID = x.current(r.TargetID), x.current(r.TargetCredentialID)
	return x.planProxy(ctx, r)
}
