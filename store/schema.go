package store

import (
	"context"
	"errors"
	"fmt"
)

// schemaKey is where the schema's version is in Meta.
const schemaKey = "schema"

// A migration brings a store from one schema to the next. A crash may end it at any point,
// and it is then run again from its beginning: it has to leave alone what it has done. It
// only adds: a field or a bucket that an older version knows keeps its meaning.
type migration func(ctx context.Context, s *Store) error

// migrations are all there were: the first brings schema 1 to schema 2.
var migrations []migration

// schemaRecord is what Meta keeps of the schema.
type schemaRecord struct {
	Version int `json:"version"`
}

// latest is the schema that the migrations end with. Schema 1 is the first.
func (s *Store) latest() int { return 1 + len(s.migrations) }

func (s *Store) schemaPut(expect uint64, version int) Put {
	return Put{Bucket: Meta, Key: schemaKey, Expect: expect, Version: expect + 1, Value: schemaRecord{version}}
}

// schema returns the store's schema and the version of its record. It is ErrNewer if this
// program does not know that schema.
func (s *Store) schema(ctx context.Context) (schema int, version uint64, err error) {
	sealed, err := s.read(ctx, Meta, schemaKey)
	if errors.Is(err, ErrNotFound) { // it is made together with the keyset
		return 0, 0, recordError(Meta, schemaKey, ErrTampered)
	} else if err != nil {
		return 0, 0, err
	}
	var record schemaRecord
	switch err := sealed.Open(&record); {
	case err != nil:
		return 0, 0, err
	case record.Version < 1:
		return 0, 0, recordError(Meta, schemaKey, ErrTampered)
	case record.Version > s.latest():
		return 0, 0, fmt.Errorf("%w: it has schema %d, and this one knows schemas up to %d; use the newer version, or put a backup in its place that was made before the update", ErrNewer, record.Version, s.latest())
	}
	return record.Version, sealed.Version, nil
}

// migrate brings the store to the latest schema, one by one, each noted when it is done.
func (s *Store) migrate(ctx context.Context) error {
	for {
		schema, version, err := s.schema(ctx)
		if err != nil || schema == s.latest() {
			return err
		}
		if err := s.migrations[schema-1](ctx, s); err != nil {
			return fmt.Errorf("bringing it from schema %d to %d: %w; it can be tried again", schema, schema+1, err)
		}
		_, err = s.apply(ctx, []Put{s.schemaPut(version, schema+1)})
		if err != nil && !errors.Is(err, ErrConflict) { // another process may have done the same
			return fmt.Errorf("bringing it from schema %d to %d: %w", schema, schema+1, err)
		}
	}
}
