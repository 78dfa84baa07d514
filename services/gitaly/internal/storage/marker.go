package storage

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gitsplit/kit/durable"
)

// markerName is the file that says "this is a storage", so that an unmounted
// disk is not taken for one (wire/gitaly.md §16, security-baseline.md C4).
const markerName = ".gitaly-metadata"

type marker struct {
	FilesystemID string `json:"gitaly_filesystem_id"`
}

// marker reads the storage's id. An empty directory becomes a storage; a
// directory with content and without marker is somebody else's.
func (s *Storage) marker() (string, error) {
	raw, err := s.root.ReadFile(markerName)
	if errors.Is(err, fs.ErrNotExist) {
		return s.newMarker()
	}
	if err != nil {
		return "", fmt.Errorf("read marker: %w", err)
	}
	var m marker
	if err := json.Unmarshal(raw, &m); err != nil || m.FilesystemID == "" {
		return "", fmt.Errorf("marker %q is damaged: restore it from a backup", filepath.Join(s.Path, markerName))
	}
	return m.FilesystemID, nil
}

func (s *Storage) newMarker() (string, error) {
	entries, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return "", fmt.Errorf("read directory: %w", err)
	}
	for _, e := range entries {
		if e.Name() != "lost+found" && e.Name() != ".gitkeep" {
			return "", fmt.Errorf("directory %q has content (%q) but no %s: it is not a storage",
				s.Path, e.Name(), markerName)
		}
	}
	m := marker{FilesystemID: newUUID()}
	raw, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("encode marker: %w", err)
	}
	tmp := markerName + "." + randomName()
	if err := writeDurable(s.root, tmp, raw); err != nil {
		return "", fmt.Errorf("write marker: %w", err)
	}
	if err := s.root.Rename(tmp, markerName); err != nil {
		return "", fmt.Errorf("write marker: %w", err)
	}
	return m.FilesystemID, durable.SyncDir(s.Path)
}

func writeDurable(root *os.Root, name string, data []byte) error {
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func randomName() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// newUUID returns a random UUID, version 4.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
