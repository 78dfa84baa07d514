package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
)

// MultiPackIndex is what the index over several packs says of itself.
type MultiPackIndex struct {
	Version                                    uint64   // 0 when there is none
	Packs                                      []string // names without suffix: "pack-<hash>"
	LargeOffsets, BitmappedPacks, ReverseIndex bool
}

// Bitmap is what a reachability bitmap says of itself.
type Bitmap struct {
	Version                uint64 // 0 when there is none
	HashCache, LookupTable bool
}

// CommitGraph is what the commit-graph says of itself. What a chain has, all its
// files have.
type CommitGraph struct {
	Exists                                bool
	ChainLength                           uint64 // 0 when it is one file
	Bloom, GenerationData, GenerationWide bool
}

// chunked is the beginning of a multi-pack-index or commit-graph file: four bytes of
// signature, version, hash, number of chunks, and the table of chunks (git's
// documentation of the chunk format).
type chunked struct {
	file    fs.File
	version byte
	chunks  map[string][2]uint64 // from and to, by the chunk's four letters
}

// header is how long the fixed part is before the table of chunks.
func openChunked(root fs.FS, name, signature string, header int) (*chunked, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	c := &chunked{file: f, chunks: map[string][2]uint64{}}
	if err := c.read(signature, header); err != nil {
		return nil, errors.Join(fmt.Errorf("read %q: %w", name, err), f.Close())
	}
	return c, nil
}

func (c *chunked) read(signature string, header int) error {
	head := make([]byte, header)
	if _, err := io.ReadFull(c.file, head); err != nil {
		return err
	}
	if string(head[:4]) != signature {
		return fmt.Errorf("signature %q is not %q", head[:4], signature)
	}
	c.version = head[4]
	rows := make([]byte, (int(head[6])+1)*12)
	if _, err := io.ReadFull(c.file, rows); err != nil {
		return err
	}
	for row := rows; len(row) > 12; row = row[12:] {
		c.chunks[string(row[:4])] = [2]uint64{binary.BigEndian.Uint64(row[4:]), binary.BigEndian.Uint64(row[16:])}
	}
	return nil
}

func (c *chunked) has(chunks ...string) bool {
	for _, name := range chunks {
		if _, ok := c.chunks[name]; !ok {
			return false
		}
	}
	return true
}

// content reads a chunk.
func (c *chunked) content(name string) ([]byte, error) {
	info, err := c.file.Stat()
	if err != nil {
		return nil, err
	}
	at, ok := c.chunks[name]
	seeker, seeks := c.file.(io.ReadSeeker)
	if !ok || !seeks || at[1] < at[0] || at[1] > uint64(info.Size()) { //nolint:gosec // never negative
		return nil, fmt.Errorf("chunk %q is missing or damaged", name)
	}
	if _, err := seeker.Seek(int64(at[0]), io.SeekStart); err != nil { //nolint:gosec // inside the file
		return nil, err
	}
	data := make([]byte, at[1]-at[0])
	_, err = io.ReadFull(seeker, data)
	return data, err
}

// multiPackIndex reads objects/pack/multi-pack-index; none, or a damaged one, which
// git does not use either, is the zero value.
func (r *Repo) multiPackIndex() MultiPackIndex {
	const packCount = 12 // signature to hash, base files, number of packs
	c, err := openChunked(r.Storage.root.FS(), filepath.Join(r.RelativePath, "objects/pack/multi-pack-index"), "MIDX", packCount)
	if err != nil {
		return MultiPackIndex{}
	}
	defer func() { _ = c.file.Close() }()
	names, err := c.content("PNAM")
	if err != nil {
		return MultiPackIndex{}
	}
	m := MultiPackIndex{Version: uint64(c.version), LargeOffsets: c.has("LOFF"), BitmappedPacks: c.has("BTMP"), ReverseIndex: c.has("RIDX")}
	for name := range bytes.SplitSeq(names, []byte{0}) {
		if n, ok := strings.CutSuffix(string(name), ".idx"); ok {
			m.Packs = append(m.Packs, n)
		}
	}
	return m
}

// bitmap reads the beginning of a bitmap file, given relative to the repository.
func (r *Repo) bitmap(name string) Bitmap {
	f, err := r.Storage.root.Open(filepath.Join(r.RelativePath, name))
	if err != nil {
		return Bitmap{}
	}
	defer func() { _ = f.Close() }()
	var head [8]byte // signature, version, flags
	if _, err := io.ReadFull(f, head[:]); err != nil || string(head[:4]) != "BITM" {
		return Bitmap{}
	}
	flags := binary.BigEndian.Uint16(head[6:])
	return Bitmap{Version: uint64(binary.BigEndian.Uint16(head[4:])), HashCache: flags&0x4 != 0, LookupTable: flags&0x10 != 0}
}

// commitGraph reads the heads of the commit-graph's files. Of a chain that begins in
// an alternate, only the files of our own count.
func (r *Repo) commitGraph() CommitGraph {
	const info = "objects/info/"
	raw, err := r.Storage.root.ReadFile(filepath.Join(r.RelativePath, info+"commit-graphs/commit-graph-chain"))
	if err != nil {
		return r.graphs(info + "commit-graph")
	}
	var files []string
	for hash := range strings.FieldsSeq(string(raw)) {
		files = append(files, info+"commit-graphs/graph-"+hash+".graph")
	}
	g := r.graphs(files...)
	g.ChainLength = uint64(len(files))
	return g
}

func (r *Repo) graphs(files ...string) CommitGraph {
	g := CommitGraph{Bloom: true, GenerationData: true}
	for _, name := range files {
		c, err := openChunked(r.Storage.root.FS(), filepath.Join(r.RelativePath, name), "CGPH", 8)
		if err != nil {
			continue
		}
		g.Exists = true
		g.Bloom = g.Bloom && c.has("BIDX", "BDAT")
		g.GenerationData = g.GenerationData && c.has("GDA2")
		g.GenerationWide = g.GenerationWide || c.has("GDO2")
		_ = c.file.Close()
	}
	if !g.Exists {
		return CommitGraph{}
	}
	return g
}
