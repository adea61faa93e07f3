package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// file is one file of an archive.
type file struct {
	name    string // without the archive's folder
	mode    fs.FileMode
	content []byte
}

const (
	tarEnding = ".tar.gz"
	zipEnding = ".zip"
)

func archiveEnding(p platform) string {
	if p.os == "windows" {
		return zipEnding
	}
	return tarEnding
}

// writeArchive packs the files into one folder, sorted, all of the same time and of no
// user, so that the same files make the same archive.
func writeArchive(to, folder string, files []file, modified time.Time) (err error) {
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if strings.HasSuffix(to, zipEnding) {
		return writeZip(out, folder, files, modified)
	}
	return writeTar(out, folder, files, modified)
}

func writeTar(out io.Writer, folder string, files []file, modified time.Time) error {
	packed, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(packed)
	for _, f := range files {
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: path.Join(folder, f.name), Mode: int64(f.mode), Size: int64(len(f.content)),
			ModTime: modified.Truncate(time.Second), Format: tar.FormatUSTAR,
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(f.content); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), packed.Close())
}

func writeZip(out io.Writer, folder string, files []file, modified time.Time) error {
	archive := zip.NewWriter(out)
	for _, f := range files {
		header := &zip.FileHeader{Name: path.Join(folder, f.name), Method: zip.Deflate, Modified: modified.Truncate(time.Second)}
		header.SetMode(f.mode)
		entry, err := archive.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := entry.Write(f.content); err != nil {
			return err
		}
	}
	return archive.Close()
}

// mostUnpacked bounds what one file of an archive may unpack to.
const mostUnpacked = 512 << 20

// readArchive gives the files of an archive by their name in its folder. A name that
// leads out of the folder, and a file that comes twice, are errors.
func readArchive(from, folder string) (map[string]file, error) {
	files := map[string]file{}
	add := func(name string, mode fs.FileMode, content io.Reader) error {
		inside, ok := strings.CutPrefix(name, folder+"/")
		if !ok || inside != path.Base(inside) || inside == ".." || inside == "." {
			return fmt.Errorf("%s: %q is not directly in the folder %s", from, name, folder)
		}
		if _, twice := files[inside]; twice {
			return fmt.Errorf("%s: %q comes twice", from, name)
		}
		bytes, err := io.ReadAll(io.LimitReader(content, mostUnpacked+1))
		if err == nil && len(bytes) > mostUnpacked {
			err = fmt.Errorf("%s: %q is too large", from, name)
		}
		files[inside] = file{inside, mode, bytes}
		return err
	}
	if strings.HasSuffix(from, zipEnding) {
		return files, readZip(from, add)
	}
	return files, readTar(from, add)
}

func readTar(from string, add func(string, fs.FileMode, io.Reader) error) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	unpacked, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	for archive := tar.NewReader(unpacked); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && header.Typeflag != tar.TypeReg {
			err = fmt.Errorf("%s: %q is no plain file", from, header.Name)
		}
		if err == nil {
			err = add(header.Name, header.FileInfo().Mode(), archive)
		}
		if err != nil {
			return err
		}
	}
}

func readZip(from string, add func(string, fs.FileMode, io.Reader) error) error {
	archive, err := zip.OpenReader(from)
	if err != nil {
		return err
	}
	defer archive.Close()
	for _, entry := range archive.File {
		content, err := entry.Open()
		if err == nil {
			err = errors.Join(add(entry.Name, entry.Mode(), content), content.Close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
