package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"time"
)

// archived are the buckets that an archive has, in this order: what refers to others
// before what it refers to, so that a record that is made meanwhile is not referred to in
// the archive without being in it. What belongs to one store alone is not in it: the audit
// log, when credentials were used, answers that were given, consents under way.
var archived = []string{Proxies, Targets, Grants, Credentials, Blocked, Clients}

// archiveInfo is the first line of an archive, as JSON. A record is in each of the others.
type archiveInfo struct {
	Schema int       `json:"schema"`
	Made   time.Time `json:"made"`
}

type archiveLine struct {
	Bucket  string          `json:"bucket"`
	Key     string          `json:"key"`
	Version uint64          `json:"version"`
	Value   json.RawMessage `json:"value"`
}

// Export writes an archive of the records and returns how many there are in it. Records
// that are changed meanwhile are in it as they were before or after. What was written when
// it fails is not an archive, and will not be opened.
func (s *Store) Export(ctx context.Context, w io.Writer, lock Lock) (records int, err error) {
	stream, err := lock.seal(w)
	if err != nil {
		return 0, fmt.Errorf("writing the archive: %w", err)
	}
	encoder := json.NewEncoder(stream)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(archiveInfo{Schema: s.latest(), Made: s.now().UTC()}); err != nil {
		return 0, fmt.Errorf("writing the archive: %w", err)
	}
	for _, bucket := range archived {
		for r, err := range s.List(ctx, bucket, "") {
			if err != nil {
				return 0, err
			}
			line := archiveLine{Bucket: bucket, Key: r.Key, Version: r.Version}
			if err := r.Open(&line.Value); err != nil {
				return 0, err
			}
			if err := encoder.Encode(line); err != nil {
				return 0, fmt.Errorf("writing the archive: %w", err)
			}
			records++
		}
	}
	if err := stream.Close(); err != nil {
		return 0, fmt.Errorf("writing the archive: %w", err)
	}
	return records, nil
}

// Archive is an archive that was read whole and found authentic.
type Archive struct {
	// Made is when it was made, by the clock of who made it.
	Made time.Time
	// Count is how many records there are.
	Count int

	file   *os.File // a copy of it, still sealed
	body   *io.SectionReader
	unlock func(io.Reader) (io.Reader, error)
}

// OpenArchive copies an archive to a temporary file, sealed as it is, and looks at all of
// it. The caller bounds how long r may be. ErrWrongKey says that the lock does not fit,
// ErrTampered that the archive is not as it was made, ErrNewer that a newer version of
// caddy-rr made it.
func OpenArchive(ctx context.Context, r io.Reader, lock Lock) (*Archive, error) {
	file, err := os.CreateTemp("", "caddy-rr-archive-*")
	if err != nil {
		return nil, fmt.Errorf("opening the archive: %w", err)
	}
	a := &Archive{file: file}
	if err := a.read(ctx, r, lock); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the archive: %w", err), a.Close())
	}
	return a, nil
}

func (a *Archive) read(ctx context.Context, r io.Reader, lock Lock) error {
	size, err := io.Copy(a.file, withContext{ctx, r})
	if err != nil {
		return err
	}
	if a.unlock, err = lock.unlock(io.NewSectionReader(a.file, 0, size)); err != nil {
		return err
	}
	a.body = io.NewSectionReader(a.file, int64(headerSize), size-int64(headerSize))
	_, info, err := a.begin()
	if err != nil {
		return err
	}
	a.Made = info.Made
	for _, err := range a.Records(ctx) {
		if err != nil {
			return err
		}
		a.Count++
	}
	return nil
}

// Close removes the copy.
func (a *Archive) Close() error {
	return errors.Join(a.file.Close(), os.Remove(a.file.Name()))
}

// Format says what it is.
func (a *Archive) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "archive with %d records", a.Count) }

// Record is a record of an archive.
type Record struct {
	Bucket, Key string
	// Version is the one that it had when the archive was made.
	Version uint64

	value []byte
}

// Open decodes the record into a value.
func (r Record) Open(into any) error { return decode(r.Bucket, r.Key, r.value, into) }

// Format keeps the value out of whatever prints the record.
func (r Record) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "record %q in %q, version %d", r.Key, r.Bucket, r.Version)
}

// Records returns the records of some buckets, or of all: proxies before their targets and
// credentials, those before the clients. It can be called again, to read them in another
// order.
func (a *Archive) Records(ctx context.Context, buckets ...string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		decoder, _, err := a.begin()
		for err == nil {
			var line archiveLine
			if err = ctx.Err(); err != nil {
				break
			}
			if err = decoder.Decode(&line); err != nil {
				break
			}
			if !slices.Contains(archived, line.Bucket) || line.Key == "" || len(line.Value) == 0 || string(line.Value) == "null" {
				err = errArchiveLine
				break
			}
			wanted := len(buckets) == 0 || slices.Contains(buckets, line.Bucket)
			if wanted && !yield(Record{line.Bucket, line.Key, line.Version, line.Value}, nil) {
				return
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(Record{}, archiveError(err))
		}
	}
}

// begin reads the first line.
func (a *Archive) begin() (*json.Decoder, archiveInfo, error) {
	var info archiveInfo
	plain, err := a.unlock(io.NewSectionReader(a.body, 0, a.body.Size()))
	if err != nil {
		return nil, info, err
	}
	decoder := json.NewDecoder(plain)
	switch err := decoder.Decode(&info); {
	case err != nil:
		return nil, info, archiveError(err) // also io.EOF, which is no end of records here
	case info.Schema > 1+len(migrations):
		return nil, info, fmt.Errorf("%w (schema %d): use that version", ErrNewer, info.Schema)
	case info.Schema < 1:
		return nil, info, errArchiveLine
	}
	return decoder, info, nil
}

var errArchiveLine = errors.New("it is authentic, but its records cannot be read")

// archiveError keeps encoding/json's errors, which quote, to itself.
func archiveError(err error) error {
	for _, known := range []error{ErrTampered, ErrNewer, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return err
		}
	}
	return errArchiveLine
}

// withContext is a reader that ends with a context.
type withContext struct {
	ctx context.Context
	r   io.Reader
}

func (w withContext) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.r.Read(p)
}
