package store

import (
	"context"
	"io"
)

// OpenWith opens a store as a version of caddy-rr with other migrations does.
func OpenWith(ctx context.Context, o Options, steps ...func(context.Context, *Store) error) (*Store, error) {
	list := make([]migration, len(steps))
	for i, step := range steps {
		list[i] = step
	}
	return open(ctx, o, list)
}

// Buckets are all there are.
var Buckets = buckets

// PageEntries is how many entries are read in one go.
const PageEntries = pageEntries

// HeaderSize is that of an archive, in bytes.
const HeaderSize = headerSize

// SealArchive seals a text as an archive, whatever it is.
func SealArchive(l Lock, w io.Writer, text []byte) error {
	stream, err := l.seal(w)
	if err != nil {
		return err
	}
	if _, err := stream.Write(text); err != nil {
		return err
	}
	return stream.Close()
}

// Place is the associated data of a record.
func Place(bucket, key string, version uint64) string {
	return string(place(recordPurpose, bucket, key, version))
}
