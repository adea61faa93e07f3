package api

import "bytes"

// success is the message of every answer that is no problem, as in the original's API.
const success = "Success"

// Done is the answer when there is nothing to show.
type Done struct {
	Message string `json:"message" example:"Success"`
}

// Owned are the parameters of what belongs to a client.
type Owned struct {
	Client string `path:"client" doc:"The client's id" example:"default"`
}

// One are the parameters of one record of a client.
type One struct {
	Owned
	ID string `path:"id" doc:"The record's id, or its name" example:"0199d3a0-5f1e-7c5a-9d1b-3f5c8e2a7b61"`
}

// Match is the condition of a change.
type Match struct {
	IfMatch string `header:"If-Match" doc:"ETags, of which the record has to have one, or *: else the answer is 412"`
}

// condition parses the field.
func (m *Match) condition() (condition, error) { return parseCondition("If-Match", m.IfMatch) }

// Keyed is for creating once however often the request is sent.
type Keyed struct {
	Key string `header:"Idempotency-Key" maxLength:"255" doc:"Any text: a request with the same one, within 24 hours, gets this one's answer"`
}

// Raw is a JSON body as it came. (A field named Body would be decoded by huma.)
type Raw struct {
	RawBody []byte `contentType:"application/json"`
}

// data is a copy: huma uses the memory again.
func (b *Raw) data() []byte { return bytes.Clone(b.RawBody) }

// Forced is for deleting what is in use.
type Forced struct {
	Force Flag `query:"force" doc:"Whether to delete it although something uses it"`
}

type (
	createIn struct {
		Owned
		Keyed
		Raw
	}
	readIn struct {
		One
		NoneMatch string `header:"If-None-Match" doc:"ETags: if the record has one of them, the answer is 304 and empty"`
	}
	replaceIn struct {
		One
		Match
		Raw
	}
	deleteIn struct {
		One
		Match
		Forced
	}
)

// recordOut is an answer about one record.
type recordOut[E any] struct {
	ETag     string `header:"ETag" doc:"The record's version, for If-Match and If-None-Match; what the configuration declares has none" example:"\"7\""`
	Location string `header:"Location" doc:"Where the record is, relative to the request"`
	Body     E
}

// readOut is recordOut for reading: the record, or that it is unchanged.
type readOut[E any] struct {
	Status int
	ETag   string `header:"ETag" doc:"The record's version, for If-Match and If-None-Match; what the configuration declares has none" example:"\"7\""`
	Body   E
}

type listOut[E any] struct{ Body E }

type doneOut struct{ Body Done }
