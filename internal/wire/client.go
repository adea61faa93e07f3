package wire

import (
	"time"

	"github.com/caddy-rr/caddy-rr/store"
)

// ClientRequest is a body that makes or changes a client.
type ClientRequest struct {
	Name string `json:"clientName,omitempty" maxLength:"128" doc:"Its name; required to make one" example:"Acme"`
	ID   string `json:"clientId,omitempty" maxLength:"128" doc:"Its id, as it is in URLs: letters, digits and -._~. Default: one is made" example:"acme"`
}

// Client is a client as it is shown.
type Client struct {
	Ids
	Name      string    `json:"clientName" example:"Acme"`
	CreatedAt time.Time `json:"clientCreatedAt,omitzero" readOnly:"true"`
	UpdatedAt time.Time `json:"clientUpdatedAt,omitzero" readOnly:"true"`
}

var clientRequest = newRequest(ClientRequest{}, Client{}, map[string]string{
	"configuration": noMeters,
	"clientMembers": "members are not supported by this version: who may do what is said where the API is mounted; leave it out",
})

// DecodeClient reads a body that makes a client, or that changes old. The error is Faults.
func DecodeClient(body []byte, old *store.Client) (*store.Client, error) {
	r := new(reader)
	c := new(store.Client)
	var head *store.Head
	if old != nil {
		*c = *old
		head = ownHead(old)
	}
	m, ok := clientRequest.read(r, body, head, "clientId")
	if !ok {
		return nil, r.err()
	}
	r.name(m, "clientName", &c.Name)
	if id, _ := m.values["clientId"].(string); old == nil && id != "" {
		if !isToken(id) {
			r.fault(m.place("clientId", "clientId"), "an id has up to %d letters, digits and -._~", MaxName)
		}
		c.ID, c.Client = id, id
	} else if old == nil && m.given("clientId") && m.values["clientId"] != nil {
		r.fault(m.place("clientId", "clientId"), "an id has up to %d letters, digits and -._~; leave it out to have one made", MaxName)
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// ownHead is a client's head: it owns itself.
func ownHead(c *store.Client) *store.Head {
	h := c.Head
	h.Client = h.ID
	return &h
}

// ShowClient is a client as the API shows it.
func ShowClient(c *store.Client) Client {
	return Client{Ids: idsOf(ownHead(c)), Name: c.Name, CreatedAt: shownTime(c.CreatedAt), UpdatedAt: shownTime(c.UpdatedAt)}
}
