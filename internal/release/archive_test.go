package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestArchive packs and unpacks: names, modes and contents stay, and the order in which
// the files came and the clock do not matter.
func TestArchive(t *testing.T) {
	modified := time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC)
	files := []file{{"z", 0o755, []byte("last")}, {"a", 0o644, nil}}
	for _, ending := range []string{tarEnding, zipEnding} {
		one, two := filepath.Join(t.TempDir(), "x"+ending), filepath.Join(t.TempDir(), "y"+ending)
		if err := writeArchive(one, "folder", []file{files[0], files[1]}, modified); err != nil {
			t.Fatal(err)
		}
		if err := writeArchive(two, "folder", []file{files[1], files[0]}, modified.Add(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if read(t, one) != read(t, two) {
			t.Errorf("%s: the same files make another archive", ending)
		}
		got, err := readArchive(one, "folder")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if g := got[f.name]; len(got) != 2 || string(g.content) != string(f.content) || g.mode != f.mode {
				t.Errorf("%s: %v", ending, got)
			}
		}
		_, err = readArchive(one, "other")
		expect(t, err, "is not directly in the folder other")
	}
}

// TestStrangeArchives: what is unpacked by others is not to surprise them.
func TestStrangeArchives(t *testing.T) {
	for _, name := range []string{"folder/../../etc/passwd", "folder/..", "/folder/a", "folder/a/b", "folder/", "a"} {
		archive := filepath.Join(t.TempDir(), "x.zip")
		out, err := os.Create(archive)
		if err != nil {
			t.Fatal(err)
		}
		w := zip.NewWriter(out)
		if _, err := w.Create(name); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		out.Close()
		_, err = readArchive(archive, "folder")
		expect(t, err, "is not directly in the folder")
	}

	archive := filepath.Join(t.TempDir(), "x.tar.gz")
	strangeTar(t, archive, tar.Header{Typeflag: tar.TypeSymlink, Name: "folder/a", Linkname: "/etc"})
	_, err := readArchive(archive, "folder")
	expect(t, err, "is no plain file")
	strangeTar(t, archive, tar.Header{Typeflag: tar.TypeReg, Name: "folder/a"}, tar.Header{Typeflag: tar.TypeReg, Name: "folder/a"})
	_, err = readArchive(archive, "folder")
	expect(t, err, "comes twice")
}

func strangeTar(t *testing.T, to string, headers ...tar.Header) {
	t.Helper()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	packed := gzip.NewWriter(out)
	w := tar.NewWriter(packed)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
}
